# SPDX-License-Identifier: GPL-2.0-only
"""``python3 -m ktcp_testbed.rehearsal.guest``: brings a mesh up and changes it, wave by wave.

It tells what happens, one JSON object a line (ktcp_testbed/lab/virtual.py). Stage 0 is the mesh
before the change, stage N the one after wave N. It judges nothing; the host does that.
"""

import json
import sys
import termios
import time
import traceback
import tty
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ktcp_testbed.rehearsal.guest import network
from ktcp_testbed.rehearsal.guest.namespace import Namespace, must
from ktcp_testbed.rehearsal.guest.relay import ROOM, Relay, load_module, settle
from ktcp_testbed.rehearsal.guest.traffic import Download, Flow, Server

# As long as a rollout's gate waits for pools.
SETTLE_S = 60.0


def tell(event: str, **facts: object) -> None:
    """Send one event."""
    sys.stdout.write(json.dumps({"event": event, **facts}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Rehearsal:
    """The job of this boot."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        scene = job["scene"]
        self.relays = {name: Relay(name, Namespace(host)) for name, host in scene["relays"].items()}
        self.flows = [Flow.of(check) for check in scene["checks"]]
        self.targets = {check["name"]: tuple(check["target"]) for check in scene["checks"]}
        self.servers: dict[tuple[str, str, int], Server] = {}
        self.downloads: list[Download] = []
        self.configured: set[str] = set()

    def go(self) -> None:
        """Do the job."""
        network.build(self.job["scene"])
        load_module()
        for host, address, port in sorted(set(self.targets.values())):
            self.servers[host, address, port] = Server(Namespace(host), address, port)
        self.bring(0, [name for name in self.relays if name in self.job["before"]], "before")
        self.downloads = [self.begin(flow) for flow in self.look(0)]
        for number, wave in enumerate(self.job["waves"], start=1):
            self.bring(number, wave, "after")
            self.look(number)
        for download in self.downloads:
            download.finish(self.servers[self.targets[download.flow.name]])
            self.tell_download(len(self.job["waves"]), download)

    def bring(self, stage: int, names: Sequence[str], which: str) -> None:
        """Apply the files of some relays, one after the other, and wait for their connections."""
        for name in names:
            applied = self.relays[name].apply(self.job[which][name])
            tell("applied", stage=stage, relay=name, **asdict(applied))
            self.configured.add(name)
        relays = [self.relays[name] for name in sorted(self.configured)]
        endpoints = self.job["endpoints"]
        awaited = {at: name for at, name in endpoints.items() if name in self.configured}
        settle(relays, awaited, pooled=self.job["pooled"], bound=SETTLE_S)
        for relay in relays:
            tell("peers", stage=stage, relay=relay.name, text=relay.peers())

    def look(self, stage: int) -> list[Flow]:
        """Try each path with a new flow, and see how the downloads go; return who was served."""
        for download in self.downloads:
            if not download.error:
                download.watch()
            self.tell_download(stage, download)
        served = []
        for flow in self.flows:
            found = flow.fetch()
            if found["served"]:
                # The first one has found neighbours and tickets, which takes round trips.
                found = flow.fetch()
            tell("flow", stage=stage, check=flow.name, **found)
            served += [flow] if found["served"] else []
        tell("stage", stage=stage)
        return served

    def begin(self, flow: Flow) -> Download:
        """Begin a download that runs through the change."""
        download = Download(flow)
        download.start()
        return download

    def tell_download(self, stage: int, download: Download) -> None:
        """Tell how far a download is."""
        tell(
            "download",
            stage=stage,
            check=download.flow.name,
            bytes=download.bytes,
            split=download.split,
            error=download.error,
        )


def main() -> None:
    """Do the job of this boot; send a sentence if that fails."""
    tty.setraw(sys.stdout.fileno())
    try:
        Rehearsal(json.loads((ROOM / "job.json").read_text(encoding="utf-8"))).go()
        log = must(["sh", "-c", "dmesg | grep -E 'BUG:|WARNING:|Oops|KASAN' | head -20 || :"])
        if log:
            tell("failed", message=f"the kernel complained\n{log}")
    except Exception as error:  # noqa: BLE001 - only the host can show it
        tell("failed", message=f"{error}\n{traceback.format_exc()}")
    else:
        tell("done", guest_s=round(time.monotonic(), 1))
    termios.tcdrain(sys.stdout.fileno())


if __name__ == "__main__":
    main()
