# SPDX-License-Identifier: GPL-2.0-only
"""The journal of a mesh: who changed what, when, and how it ended. Each run is a JSON file.

A run's file is written anew at each step, so that after a crash it says how far the run got,
and another command can go on from there. No secret of the mesh is in it.
"""

import contextlib
import fcntl
import getpass
import hashlib
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ktcp_ops import __version__
from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run.result import HostResult, HostState, RunResult

BAD = (HostState.FAILED, HostState.UNREACHABLE)
LOOK_S = 0.3


class Outcome(StrEnum):
    """How a run ended, if it has."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    """Never written: shown for a run whose file says ``running`` although its process is gone."""


class WaveState(StrEnum):
    """How far a wave is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "rolled back"


class Record(BaseModel):
    """A part of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WaveRecord(Record):
    """A wave: its relays, how far it is, and why it failed."""

    hosts: tuple[str, ...]
    state: WaveState = WaveState.PENDING
    reason: str = ""


class Run(Record):
    """One run of a command that changes relays.

    Attributes:
        action: the command, without ``mesh``.
        who: the user, also the one behind sudo; ``controller`` is the host they did it from.
        fingerprint: of the mesh, without its keys.
        waves: all waves, also those to come.
        hosts: the latest outcome of each relay.
    """

    schema_version: Literal[1] = 1
    id: str
    action: str
    who: str
    controller: str
    version: str = __version__
    inventories: tuple[str, ...]
    limit: str | None = None
    options: dict[str, str | int | bool | None] = {}
    fingerprint: str
    started: datetime
    ended: datetime | None = None
    outcome: Outcome = Outcome.RUNNING
    exit_code: int | None = None
    reason: str = ""
    waves: tuple[WaveRecord, ...]
    hosts: dict[str, HostResult] = {}

    @classmethod
    def begin(
        cls,
        action: str,
        *,
        mesh: Mesh,
        inventories: Sequence[str],
        limit: str | None,
        waves: Sequence[tuple[str, ...]] = (),
        options: Mapping[str, str | int | bool | None] | None = None,
    ) -> Self:
        """Make the record of a run that begins now."""
        now = datetime.now(UTC)
        return cls(
            id=f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z-{secrets.token_hex(2)}",
            action=action,
            who=who(),
            controller=socket.gethostname(),
            inventories=tuple(inventories),
            limit=limit,
            options=dict(options or {}),
            fingerprint=fingerprint(mesh),
            started=now,
            waves=tuple(WaveRecord(hosts=hosts) for hosts in waves),
        )

    @property
    def bad(self) -> tuple[str, ...]:
        """The relays that failed or were not reached."""
        return tuple(name for name, host in self.hosts.items() if host.state in BAD)

    def with_hosts(self, hosts: Mapping[str, HostResult]) -> "Run":
        """Give the same run with new outcomes of some relays."""
        return self.model_copy(update={"hosts": {**self.hosts, **hosts}})

    def with_wave(self, number: int, state: WaveState, reason: str = "") -> "Run":
        """Give the same run with another state of a wave."""
        waves = list(self.waves)
        waves[number] = waves[number].model_copy(update={"state": state, "reason": reason})
        return self.model_copy(update={"waves": tuple(waves)})

    def finished(self, outcome: Outcome, reason: str = "") -> "Run":
        """Give the same run, ended now."""
        ended = {"ended": datetime.now(UTC), "outcome": outcome, "reason": reason}
        run = self.model_copy(update=ended)
        return run.model_copy(update={"exit_code": int(exit_code(run))})

    def left(self, number: int) -> tuple[str, ...]:
        """List the relays of a wave that are left: done are good ones of a wave that is done."""
        wave = self.waves[number]
        done = wave.state is WaveState.DONE
        return tuple(h for h in wave.hosts if not (done and h in self.hosts and h not in self.bad))

    def again(self) -> "Run":
        """Give the run as it is resumed: without the outcomes of relays that are left."""
        left = {host for number in range(len(self.waves)) for host in self.left(number)}
        return self.model_copy(
            update={
                "ended": None,
                "outcome": Outcome.RUNNING,
                "exit_code": None,
                "reason": "",
                "hosts": {name: host for name, host in self.hosts.items() if name not in left},
            }
        )

    def result(self) -> RunResult:
        """Give its outcome in the form of one run of Ansible."""
        message = "its wave was not begun"
        later = {
            name: HostResult(host=name, state=HostState.NOT_REACHED, message=message)
            for wave in self.waves
            for name in wave.hosts
            if self.ended and name not in self.hosts
        }
        hosts = {**self.hosts, **later}
        return RunResult(
            hosts=tuple(hosts[name] for name in sorted(hosts)),
            complete=True,
            canceled=self.outcome is Outcome.INTERRUPTED,
        )


def exit_code(run: Run) -> ExitCode:
    """Give the exit code of a run that has ended."""
    if run.outcome is Outcome.STOPPED:
        return ExitCode.GATE
    failed = ExitCode.FAILED if run.outcome is Outcome.FAILED else ExitCode.OK
    return run.result().exit_code or failed


def who() -> str:
    """Name the user, and the user who called sudo."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{behind} as {user}" if behind and behind != user else user


def fingerprint(mesh: Mesh) -> str:
    """Give a digest of the mesh, without its keys."""
    return hashlib.sha256(repr(mesh).encode()).hexdigest()


class Journal:
    """The runs of one mesh, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, inventories: Sequence[str], mesh: str = "") -> Self:
        """Find the journal of the mesh that these inventories describe, or of several the named.

        In ``KTCP_STATE_DIR``, else where the user's state is kept by the XDG's rules.
        """
        places = [name if "," in name else str(Path(name).resolve()) for name in inventories]
        digest = hashlib.sha256("\n".join(places).encode()).hexdigest()[:8]
        label = re.sub(r"[^A-Za-z0-9._-]", "_", Path(places[0]).name)
        return cls(state_directory() / f"{label}-{digest}" / mesh)

    def with_meshes(self) -> dict[str, Self]:
        """Give the journals of several meshes by their names; and this one, for all, if used."""
        places = sorted(self.directory.iterdir()) if self.directory.is_dir() else []
        own = {path.name: type(self)(path) for path in places if path.is_dir()}
        used = not own or any(path.suffix == ".json" for path in places)
        return {**({"all": self} if used else {}), **own}

    def has(self, run_id: str) -> bool:
        """Tell whether a run is in it."""
        return any(run.id == run_id for run in self.read()[0])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other commands of this user from changing the mesh meanwhile.

        Raises:
            KtcpError: when one is at work, or the directory cannot be used.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise unusable(error) from error
        try:
            if not locked(descriptor):
                raise KtcpError(self.holder(datetime.now(UTC)))
            yield
        finally:
            os.close(descriptor)

    def holder(self, now: datetime) -> str:
        """Say who is changing the mesh, since when, and what to do about it.

        The system drops the lock when its process ends, so there is never a stale lock.
        """
        runs = [run for run in self.read()[0] if run.outcome is Outcome.RUNNING]
        if not runs:
            return "another command is changing this mesh; `ktcp-ops mesh history` shows it"
        run = runs[0]
        return (
            f"{run.who}@{run.controller} has been changing this mesh by `mesh {run.action}` since "
            f"{run.started:%Y-%m-%d %H:%M:%S} UTC ({age(now - run.started)}); wait for it, or see "
            f"`ktcp-ops mesh history --run {run.id}`"
        )

    def is_busy(self) -> bool:
        """Tell whether a command is changing the mesh now."""
        try:
            with self.alone():
                return False
        except KtcpError:
            return True

    def recorded(self, run: Run, act: Callable[[], RunResult]) -> RunResult:
        """Do something that is one run of Ansible, and write its outcome to the journal."""
        with self.alone():
            self.write(run)
            result = act()
            outcome = Outcome.FAILED if result.exit_code else Outcome.DONE
            if result.canceled:
                outcome = Outcome.INTERRUPTED
            hosts = {host.host: host for host in result.hosts}
            self.write(run.with_hosts(hosts).finished(outcome, result.complaint))
        return result

    def write(self, run: Run) -> None:
        """Write a run's file in one step that survives a crash.

        Raises:
            KtcpError: when that is not possible.
        """
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self.directory, suffix=".partial", encoding="utf-8", delete=False
            ) as file:
                file.write(run.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self.directory / f"{run.id}.json")
        except OSError as error:
            raise unusable(error) from error

    def runs(self) -> tuple[list[Run], list[str]]:
        """Give all runs, the latest first, and a sentence for each file that cannot be read."""
        found, problems = self.read()
        if found and found[0].outcome is Outcome.RUNNING and self.is_busy():
            return found[:1] + [crashed(run) for run in found[1:]], problems
        return [crashed(run) for run in found], problems

    def read(self) -> tuple[list[Run], list[str]]:
        """Give all runs as their files say; a run that crashed still says ``running`` there."""
        found, problems = [], []
        for path in sorted(self.directory.glob("*.json"), reverse=True):
            try:
                found.append(Run.model_validate_json(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                problems.append(f"{path}: cannot be read, move it away: {first_line(error)}")
        return found, problems


def locked(descriptor: int) -> bool:
    """Lock a directory; False if it stays locked for longer than ``is_busy`` holds the lock."""
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S / 10)
        else:
            return True


def age(span: timedelta) -> str:
    """Write a span of time by its largest unit, for people."""
    seconds = max(int(span.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def crashed(run: Run) -> Run:
    """Mark a run as crashed if it says that it is running; the caller knows that it is not."""
    if run.outcome is not Outcome.RUNNING:
        return run
    return run.model_copy(update={"outcome": Outcome.CRASHED})


def first_line(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        return f"{place}: {detail['msg']}" if place else detail["msg"]
    return str(error).splitlines()[0]


def state_directory() -> Path:
    """Give the directory of all journals."""
    named = os.environ.get("KTCP_STATE_DIR")
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "ktcp"


def unusable(error: OSError) -> KtcpError:
    """Say that the journal cannot be written, and what to do."""
    return KtcpError(f"the journal: {error}; name a directory of yours in KTCP_STATE_DIR")
