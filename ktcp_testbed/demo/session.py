# SPDX-License-Identifier: GPL-2.0-only
"""The whole demonstration: boot a lab, roll a mesh out, download, compare."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ktcp_ops import __version__, console
from ktcp_ops.errors import KtcpError
from ktcp_testbed.demo import process, results, steps
from ktcp_testbed.demo.guests import Guests, differing
from ktcp_testbed.demo.results import (
    Download,
    Results,
    RoundTrip,
    RoundTrips,
    Versions,
    Way,
    human_size,
)
from ktcp_testbed.lab import qemu
from ktcp_testbed.lab.topology import PAPER, Link

KTCP_OPS = (sys.executable, "-m", "ktcp_testbed")
# New relays without traffic need no canary, and both at once take half the time.
ROLL_OUT = (*KTCP_OPS, "mesh", "rollout", "--waves", "off")
RELAYS = ("rc", "rs")
SERVER = PAPER.links[-1].address4("server").ip


@dataclass(frozen=True, kw_only=True)
class Session:
    """What to do and where."""

    checkout: Path
    lab: Path
    release: str
    runs: int
    keep: bool

    def measure(self) -> Results:
        """Bring up the lab and the mesh, and measure; take the lab down unless it is to be kept.

        Raises:
            KtcpError: A step failed; the message says which.
        """
        with self.booted() as guests:
            heading("Rolling the mesh out with Ansible")
            process.run(
                [*ROLL_OUT, "-i", self.checkout / "inventories" / "lab"],
                failure="the mesh could not be rolled out",
            )
            heading("Correcting the length of the links with the mesh in place")
            process.run(
                [*KTCP_OPS, "lab", "calibrate", "--dir", self.lab],
                failure="the links could not be measured",
            )
            return self.compare(guests)

    @contextmanager
    def booted(self) -> Iterator[Guests]:
        """Boot the lab; after the body take it down, unless it is to be kept."""
        where = ("--dir", self.lab)
        try:
            heading("Booting client, rc, rs and server")
            process.run(
                [*KTCP_OPS, "lab", "up", "--release", self.release, *where],
                failure="the lab did not come up",
            )
            yield Guests(self.lab / "ssh_config")
        finally:
            if not self.keep:
                heading("Taking the lab down")
                with process.uninterrupted():
                    process.run(
                        [*KTCP_OPS, "lab", "down", *where], failure="the lab is still there"
                    )

    def compare(self, guests: Guests) -> Results:
        """Measure on a lab that has its mesh."""
        started = datetime.now(UTC)
        heading("Measuring the round trips")
        trips = round_trips(guests)
        settings = {relay: guests.procfs(relay, "settings") for relay in RELAYS}
        versions = self.versions(guests)

        heading(f"Downloading each size {self.runs} times each way")
        downloads = download(guests, runs=self.runs)
        heading("Switching the improvements on, one after the other")
        found = steps.measure(
            guests,
            SERVER,
            relays=RELAYS,
            runs=self.runs,
            legs=trips.legs(),
            begun=lambda step: console.print_note(f"  {step.name}"),
            done=show,
        )
        return Results(
            started=started,
            runs=self.runs,
            versions=versions,
            settings=settings,
            round_trips=trips,
            comparisons=results.compare(
                downloads,
                legs=trips.legs(),
                improvements=results.improvements_in(settings["rc"]),
            ),
            downloads=tuple(downloads),
            steps=found,
        )

    def versions(self, guests: Guests) -> Versions:
        """The versions of what is measured, and of what measures."""
        module = guests.procfs("rc", "version")
        return Versions(
            ktcp_ops=__version__,
            module=module.get("module", ""),
            wire=module.get("wire", ""),
            srcversion=module.get("srcversion", ""),
            release=self.release,
            kernel=guests.ask("rc", "uname -r").strip(),
            accelerator=qemu.host_accelerator().partition(",")[0],
        )


def download(guests: Guests, *, runs: int) -> list[Download]:
    """Download everything, and check that the bytes are right and took the right way.

    The first round is not counted: neighbours and caches are unknown then, which costs
    round trips that later connections do not have.

    Raises:
        KtcpError: A body differs from the server's, or the relays did not split exactly
            the downloads that they should have.
    """
    guests.fetch("client", SERVER, runs=1, done=lambda _: None)
    checksums = guests.checksums("server")
    before = splits_opened(guests)
    downloads = guests.fetch("client", SERVER, runs=runs, done=show)
    after = splits_opened(guests)

    for wrong in differing(downloads, checksums):
        raise KtcpError(
            f"run {wrong.run}: {human_size(wrong.size)} {wrong.way}: SHA-256 is {wrong.sha256}, "
            f"the server's is {checksums.get(wrong.size)}"
        )
    wanted = sum(download.way is Way.KTCP for download in downloads)
    for relay in RELAYS:
        split = after[relay] - before[relay]
        if split != wanted:
            raise KtcpError(f"{relay} split {split} connections, not the {wanted} of the downloads")
    console.print_note(f"All {len(downloads)} checksums are the server's; {wanted} were split.")
    return downloads


def splits_opened(guests: Guests) -> dict[str, int]:
    """How many connections each relay has split since its module was loaded."""
    return {
        relay: int(guests.procfs(relay, "stats").get("splits_opened_total", "0"))
        for relay in RELAYS
    }


def round_trips(guests: Guests) -> RoundTrips:
    """Each leg's round-trip time, as set in the topology and as ping measures it now."""
    client, relay, server = (
        RoundTrip(nominal=link.rtt_ms / 1000, measured=measure(guests, link))
        for link in PAPER.links
    )
    return RoundTrips(client=client, relay=relay, server=server)


def measure(guests: Guests, link: Link) -> float:
    """A link's round-trip time in seconds."""
    here, there = link.ends
    seconds = guests.round_trip(here, link.address4(there).ip)
    console.print_note(f"  {link.name}: {seconds * 1000:.1f} ms, set to {link.rtt_ms:g} ms")
    return seconds


def show(download: Download) -> None:
    """Print the times of a download."""
    console.print_note(
        f"  run {download.run}  {human_size(download.size):>6}  {download.way:<6}  "
        f"first byte {download.first_byte:.3f} s  last {download.total:.3f} s"
    )


def heading(text: str) -> None:
    """Print the heading of a step of the demonstration."""
    console.print_note(f"==> {text}")
