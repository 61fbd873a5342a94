# SPDX-License-Identifier: GPL-2.0-only
"""A lab: the guests of a topology, brought up together and taken down together.

``up`` leaves either a complete lab or nothing; ``down`` leaves nothing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError, UnreachableError, UsageError
from ktcp_testbed.lab import calibration, image, machine, network, process, ssh, state
from ktcp_testbed.lab.calibration import BRIEF, CAREFUL, Effort
from ktcp_testbed.lab.guest import BOOT_TIMEOUT, Guest, greets, launch
from ktcp_testbed.lab.image import Image, Progress
from ktcp_testbed.lab.launch import free_port
from ktcp_testbed.lab.machine import Files, Options
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.state import GuestState, LinkState, State
from ktcp_testbed.lab.status import LabStatus, absent, present
from ktcp_testbed.lab.topology import Link, Topology

SOCKETS_PREFIX = "ktcp-lab-"
POWER_OFF_SECONDS = 30.0

# The size to which the overlays of a lab grow in ordinary use.
SPACE_NEEDED_BYTES = 1024**3


class Lab:
    """The lab of one directory."""

    def __init__(
        self,
        topology: Topology,
        directory: Path,
        release: Release,
        *,
        progress: Progress = console.print_note,
        boot_timeout: float = BOOT_TIMEOUT,
    ) -> None:
        self.topology = topology
        self.directory = directory.absolute()
        self.release: Release = release
        self.progress = progress
        self.boot_timeout = boot_timeout
        # The guests that this object started, and so has to collect.
        self.started: list[Guest] = []

    @classmethod
    def find(cls, directory: Path, *, progress: Progress = console.print_note) -> "Lab | None":
        """The lab that is in ``directory``, or None."""
        found = state.load(directory)
        if found is None:
            return None
        return cls(found.topology, directory, found.release, progress=progress)

    @property
    def ssh_config(self) -> Path:
        """The file for ``ssh -F``, with a Host entry for each guest."""
        return self.directory / "ssh_config"

    def files(self, name: str) -> Files:
        """The files of the guest ``name``."""
        return Files(directory=self.directory / name)

    def guest(self, name: str) -> Guest:
        """The running guest ``name``.

        Raises:
            UsageError: the lab is not up, or has no such guest.
        """
        found = state.load(self.directory)
        if found is None:
            raise UsageError(f"no lab is up in {self.directory}: ./dev lab up")
        self.topology.guest(name)
        return self.attach(name, found.guests[name])

    def attach(self, name: str, of: GuestState) -> Guest:
        """A guest that an earlier command started."""
        return Guest(
            name=name,
            process=of.process,
            port=of.port,
            files=self.files(name),
            config=self.ssh_config,
        )

    def status(self) -> LabStatus:
        """How the lab and its guests are. Changes nothing."""
        found = state.load(self.directory)
        if found is None:
            return absent(self.directory)
        answers = {
            name: guest.process.alive() and greets(guest.port)
            for name, guest in found.guests.items()
        }
        return present(self.directory, found, answers)

    def up(self) -> LabStatus:
        """Bring the lab up, unless it is up; start guests that have died again.

        Raises:
            UsageError: another lab, or something else, is in the directory.
            KtcpError: it failed, and nothing is left of it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with held(self.directory):
            try:
                self.up_locked()
            except BaseException:
                remove_if_empty(self.directory)
                raise
        return self.status()

    def up_locked(self) -> None:
        """Do what is needed: nothing, repair, or a fresh start."""
        found = state.load(self.directory)
        if found is None:
            present = {path.name for path in self.directory.iterdir()}
            others = sorted(present - {self.ssh_config.name})
            if others:
                raise UsageError(
                    f"{self.directory} is not empty ({others[0]}): give the lab its own directory"
                )
            self.start()
            return
        dead = [name for name, guest in found.guests.items() if not guest.process.alive()]
        if not found.complete or len(dead) == len(found.guests):
            self.progress("lab: removing what an earlier lab left behind")
            self.clear(found)
            self.start()
            return
        if (found.topology, found.release) != (self.topology, self.release):
            raise UsageError(
                f"another lab ({found.topology.name}, {found.release}) is up in "
                f"{self.directory}: ./dev lab down, or give another directory"
            )
        if dead:
            self.repair(found, dead)
            return
        silent = [name for name, guest in found.guests.items() if not greets(guest.port)]
        if silent:
            raise UnreachableError(
                f"guest {silent[0]} runs, but its ssh server does not answer; see "
                f"{self.files(silent[0]).console}, or start afresh: ./dev lab down"
            )
        self.progress(f"lab: already up in {self.directory}")

    def start(self) -> None:
        """Boot all guests and measure the links; on any failure leave nothing."""
        free = shutil.disk_usage(self.directory).free
        if free < SPACE_NEEDED_BYTES:
            raise KtcpError(
                f"{self.directory} has {free // 1024**2} MiB free and a lab needs "
                f"{SPACE_NEEDED_BYTES // 1024**2} MiB: free some, or give another directory"
            )
        base = image.ensure(self.release, progress=self.progress)
        now = State(
            topology=self.topology,
            release=self.release,
            sockets=Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX)),
            links={
                link.name: LinkState(delay_us=network.half_delay_us(link, calibration.OVERHEAD_US))
                for link in self.topology.links
            },
        )
        started: dict[str, Guest] = {}
        try:
            state.save(self.directory, now)
            began = time.monotonic()
            for guest in self.topology.guests:
                with process.interrupts_held():
                    started[guest.name] = self.launch(guest.name, base, now)
                    now = self.record(now, started[guest.name])
            self.write_ssh_config(now, base)
            self.wait(started)
            now = self.calibrate(now, base, started, BRIEF)
            state.save(self.directory, now.model_copy(update={"complete": True}))
            self.progress(f"lab: up after {time.monotonic() - began:.0f} s in {self.directory}")
        except BaseException as error:
            self.clear(now)
            if isinstance(error, OSError):
                raise KtcpError(f"lab: {error}") from error
            raise

    def repair(self, found: State, dead: list[str]) -> None:
        """Start the dead guests again, from their own disks."""
        base = image.ensure(self.release, progress=self.progress)
        started = {}
        for name in dead:
            self.progress(f"guest {name}: had stopped, starting it again")
            with process.interrupts_held():
                started[name] = self.launch(name, base, found)
                found = self.record(found, started[name])
        self.write_ssh_config(found, base)
        self.wait(started)

    def launch(self, name: str, base: Image, now: State) -> Guest:
        """Start the process of one guest."""
        files = self.files(name)
        files.directory.mkdir(exist_ok=True)
        machine.write_seed(self.topology, name, image=base, files=files, delays_us=now.delays_us)
        if not files.disk.exists():
            machine.make_disk(files.disk, base.disk)
        vm = machine.vm(
            self.topology,
            name,
            image=base,
            files=files,
            sockets=now.sockets,
            port=free_port(),
            options=Options(),
        )
        guest = launch(vm, files=files, config=self.ssh_config)
        self.started.append(guest)
        return guest

    def record(self, now: State, guest: Guest) -> State:
        """Save the state with a started guest."""
        now = now.with_guest(
            guest.name,
            GuestState(pid=guest.process.pid, start_time=guest.process.start_time, port=guest.port),
        )
        state.save(self.directory, now)
        return now

    def write_ssh_config(self, now: State, base: Image) -> None:
        """Write ``ssh_config`` for the guests' ports."""
        ports = {name: guest.port for name, guest in now.guests.items()}
        text = ssh.config(ports, identity=base.identity, sockets=now.sockets)
        self.ssh_config.write_text(text, encoding="utf-8")

    def wait(self, guests: Mapping[str, Guest]) -> None:
        """Wait for all guests at once; the first failure ends the wait for all."""
        gave_up = threading.Event()
        began = time.monotonic()

        def wait_for(guest: Guest) -> None:
            guest.wait(timeout=self.boot_timeout, stopped=gave_up.is_set)
            for unit in self.topology.guest(guest.name).services:
                guest.run(["systemctl", "start", unit], timeout=120, check=True)
            self.progress(f"guest {guest.name}: up after {time.monotonic() - began:.0f} s")

        self.progress(f"lab: booting {', '.join(guests)} (Debian {self.release})")
        try:
            together(wait_for, list(guests.values()), gave_up)
        except BaseException:
            # Without the guests that they wait for, the threads end.
            process.stop([guest.process for guest in guests.values()], patience=2)
            raise

    def recalibrate(self) -> LabStatus:
        """Correct the links of a lab that is up, with what runs in its guests now.

        Raises:
            UsageError: no lab is up, or only a part of it is.
        """
        found = state.load(self.directory)
        if found is None or self.status().state != "up":
            raise UsageError(f"the lab in {self.directory} is not up: ./dev lab up")
        with held(self.directory):
            base = image.ensure(found.release, progress=self.progress)
            guests = {name: self.attach(name, of) for name, of in found.guests.items()}
            state.save(self.directory, self.calibrate(found, base, guests, CAREFUL))
        return self.status()

    def calibrate(
        self, now: State, base: Image, guests: Mapping[str, Guest], effort: Effort
    ) -> State:
        """Correct the length of each link, and save its delay."""
        for link in self.topology.links:
            if link.rtt_ms > 0:
                self.progress(f"link {link.name}: measuring")
                now = self.calibrate_link(now, link, base, guests, effort)
        return now

    def calibrate_link(
        self, now: State, link: Link, base: Image, guests: Mapping[str, Guest], effort: Effort
    ) -> State:
        """Correct one delay, in the guests and in their seeds; report the result."""

        def set_delay(delay_us: int) -> None:
            for end in link.ends:
                delays = {**now.delays_us, link.name: delay_us}
                machine.write_seed(
                    self.topology, end, image=base, files=self.files(end), delays_us=delays
                )
                change = network.netem(self.interface(link, end), delay_us, verb="change")
                guests[end].run(f"tc {change}", check=True)

        result = calibration.calibrate(
            link.rtt_ms,
            now.links[link.name].delay_us,
            good_enough=effort.good_enough,
            measure=lambda: round_trips(guests, link, effort),
            set_delay=set_delay,
        )
        line = (
            f"link {link.name}: {result.rtt4_ms:.2f} ms over IPv4, {result.rtt6_ms:.2f} ms "
            f"over IPv6, wanted {link.rtt_ms:g} ms"
        )
        if result.error(link.rtt_ms) > calibration.TOLERANCE:
            line += "; more than 1 % wrong: this host is too busy to be exact"
        self.progress(line)
        return now.with_link(
            link.name,
            LinkState(
                delay_us=result.delay_us,
                rtt4_ms=round(result.rtt4_ms, 3),
                rtt6_ms=round(result.rtt6_ms, 3),
            ),
        )

    def interface(self, link: Link, guest: str) -> network.Interface:
        """The interface of ``guest`` on ``link``."""
        own = network.interfaces(self.topology, guest)
        return next(each for each in own if each.link == link)

    def down(self, *, graceful: bool = True) -> bool:
        """Take the lab down, whatever its state; False if there was none.

        Args:
            graceful: let the guests switch themselves off first, for a limited time.
        """
        if not (self.directory / state.NAME).exists():
            self.collect()
            return False
        with held(self.directory):
            found = state.load(self.directory)
            if found is None:
                return False
            if graceful:
                self.power_off(found)
            self.clear(found)
            remove_if_empty(self.directory)
        self.progress(f"lab: down, nothing is left in {self.directory}")
        return True

    def power_off(self, found: State) -> None:
        """Ask all guests at once to switch themselves off, and wait for it a while."""
        alive = [
            self.attach(name, guest)
            for name, guest in found.guests.items()
            if guest.process.alive()
        ]
        if not alive:
            return
        self.progress(f"lab: switching off {', '.join(guest.name for guest in alive)}")
        together(Guest.power_off, alive)
        left = process.wait_gone([guest.process for guest in alive], POWER_OFF_SECONDS)
        if left:
            self.progress(f"lab: {len(left)} guests did not switch off, ending them")

    def clear(self, found: State) -> None:
        """End all processes of the lab and remove all its files, but no others."""
        for name, of in found.guests.items():
            self.attach(name, of).disconnect()
        process.stop([of.process for of in found.guests.values()])
        self.collect()
        if found.sockets.name.startswith(SOCKETS_PREFIX):
            shutil.rmtree(found.sockets, ignore_errors=True)
        for guest in found.topology.guests:
            shutil.rmtree(self.files(guest.name).directory, ignore_errors=True)
        self.ssh_config.unlink(missing_ok=True)
        (self.directory / state.NAME).with_suffix(".partial").unlink(missing_ok=True)
        # Last: as long as it is there, another `down` can finish this one.
        (self.directory / state.NAME).unlink(missing_ok=True)

    def collect(self) -> None:
        """End the guests that this object started, and leave no zombies."""
        while self.started:
            self.started.pop().stop()


def round_trips(guests: Mapping[str, Guest], link: Link, effort: Effort) -> tuple[float, float]:
    """The round-trip times of a link over IPv4 and IPv6."""
    with ThreadPoolExecutor(1 if effort.alone else 2) as pool:
        rtt4, rtt6 = pool.map(lambda version: ping(guests, link, version, effort), (4, 6))
    return rtt4, rtt6


def ping(guests: Mapping[str, Guest], link: Link, version: int, effort: Effort) -> float:
    """The round-trip time of a link in milliseconds, from its first end."""
    first, second = link.ends
    address = link.address4(second).ip if version == 4 else link.address6(second).ip
    done = guests[first].run(effort.ping_command(str(address), link.rtt_ms), timeout=120)
    try:
        return calibration.round_trip_ms(done.stdout, pings=effort.pings)
    except KtcpError as error:
        raise UnreachableError(
            f"link {link.name}: {error.message}\n{done.stderr}".strip()
        ) from error


def together(
    action: Callable[[Guest], None],
    guests: list[Guest],
    gave_up: threading.Event | None = None,
) -> None:
    """Do ``action`` to all guests at once; raise the first failure.

    ``gave_up`` is set as soon as one fails or the user interrupts. Actions have
    to look at it.
    """
    with ThreadPoolExecutor(len(guests)) as pool:
        futures = [pool.submit(action, guest) for guest in guests]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            if gave_up is not None:
                gave_up.set()
            raise


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep other commands away from ``directory``.

    The lock is on the directory itself, so that it leaves no file behind.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KtcpError(
                f"another command is at work on the lab in {directory}; wait for it to end"
            ) from error
        yield
    finally:
        os.close(descriptor)


def remove_if_empty(directory: Path) -> None:
    """Remove a directory, unless somebody else has put something there."""
    with contextlib.suppress(OSError):
        directory.rmdir()
