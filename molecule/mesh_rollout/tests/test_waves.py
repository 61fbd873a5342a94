# SPDX-License-Identifier: GPL-2.0-only
"""The effect of waves on relays and their traffic. Each test begins where the last one ended."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from ktcp_ops.run.environment import ansible_environment, playbook

SCENARIO = Path(__file__).parents[1]
KMOD = SCENARIO.parents[1] / "kmod"
URL = "http://10.78.4.2/10m"
FILE = "/srv/ktcp-lab/10m"
LEFT = (
    "/etc/ktcp /usr/local/sbin/ktcp-apply /usr/local/sbin/ktcp-steering /usr/src/ktcp*"
    " /sys/module/ktcp /var/lib/ktcp"
)

# Seconds; an emulated machine on a busy host takes its time.
PATIENCE = 120


@dataclass(frozen=True)
class Operator:
    """An operator who runs ktcp-ops, with an inventory and a journal of their own."""

    inventory: Path

    def run(self, action: str, *options: str) -> tuple[int, dict[str, Any]]:
        """Run a command of ``ktcp-ops mesh``. Returns its exit code and its output."""
        command = [sys.executable, "-m", "ktcp_ops", "mesh", action, "-i", str(self.inventory)]
        done = subprocess.run(
            [*command, "-o", "json", *options],
            env={**os.environ, "KTCP_STATE_DIR": str(self.inventory.parent / "state")},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    @contextmanager
    def changed(self, **mesh: Any) -> Iterator[None]:  # noqa: ANN401 - any key of the mesh
        """Change keys of the mesh for the time of a ``with``."""
        file = self.inventory / "group_vars/all/mesh.yml"
        before = file.read_text()
        variables = yaml.safe_load(before)
        variables["ktcp_mesh"].update(mesh)
        file.write_text(yaml.safe_dump(variables))
        yield
        file.write_text(before)


@dataclass(frozen=True)
class Lab:
    """The guests."""

    client: Host
    ra: Host
    rb: Host
    rc: Host
    server: Host


@pytest.fixture(scope="module")
def lab(guest: Callable[[str], Host]) -> Lab:
    return Lab(**{name: guest(name) for name in ("client", "ra", "rb", "rc", "server")})


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    directory = tmp_path_factory.mktemp("operator")
    shutil.copytree(SCENARIO / "inventory", directory / "inventory")
    return Operator(directory / "inventory")


@contextmanager
def taken(relay: Host, port: int) -> Iterator[None]:
    """A port that another program listens on, so that KTCP can't."""
    relay.check_output("systemd-run --unit squatter python3 -m http.server %s", str(port))
    yield
    relay.check_output("systemctl stop squatter")


def srcversion(relay: Host) -> str:
    """The loaded module's srcversion."""
    return str(relay.file("/sys/module/ktcp/srcversion").content_string.strip())


def stat(relay: Host, name: str) -> int:
    """One counter of a relay."""
    lines = relay.file("/proc/net/ktcp/stats").content_string.splitlines()
    return int(dict(line.split() for line in lines)[name])


def split_downloads(lab: Lab) -> int:
    """Download once. Returns how many splits that made at the ingress."""
    before = stat(lab.ra, "splits_opened_total")
    fetch = f"set -o pipefail; curl -sSf --max-time {PATIENCE} {URL} | sha256sum"
    assert lab.client.check_output(fetch).split()[0] == digest(lab)
    return stat(lab.ra, "splits_opened_total") - before


def digest(lab: Lab) -> str:
    """The file's checksum on the server."""
    return str(lab.server.check_output(f"cat {FILE}.sha256").split()[0])


def states(told: dict[str, Any]) -> list[tuple[list[str], str]]:
    return [(wave["hosts"], wave["state"]) for wave in told["waves"]]


def test_a_first_canary_that_fails_is_as_it_was_and_no_other_is_touched(
    lab: Lab, operator: Operator
) -> None:
    with taken(lab.ra, 5565):
        code, told = operator.run("rollout")
    assert code == 5, told
    assert states(told) == [(["ra"], "rolled back"), (["rb"], "pending"), (["rc"], "pending")]
    for relay in (lab.ra, lab.rb, lab.rc):
        assert relay.run(f"ls -d {LEFT}").stdout == ""


def test_it_goes_on_when_that_is_mended(lab: Lab, operator: Operator) -> None:
    code, told = operator.run("rollout", "--resume")
    assert code == 0, told
    assert states(told) == [(["ra"], "done"), (["rb"], "done"), (["rc"], "done")]
    assert split_downloads(lab) == 1


def test_the_plain_playbook_finds_nothing_left_to_change(operator: Operator) -> None:
    """Both lead to the same state: what one has done, the other does not change."""
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(operator.inventory)]
    done = subprocess.run(
        [*command, str(playbook("site.yml"))],
        env={**os.environ, **ansible_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    recap = re.findall(
        r"^(\w+) +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0", done.stdout, re.MULTILINE
    )
    assert sorted(recap) == [("ra", "0"), ("rb", "0"), ("rc", "0")], done.stdout
    code, told = operator.run("rollout")
    assert code == 0, told
    assert {host["state"] for host in told["hosts"].values()} == {"ok"}


@contextmanager
def downloading(lab: Lab) -> Iterator[None]:
    """A download that is halfway through, and goes on to its end afterwards."""
    reader = "(head -c 1000000; while [ ! -e /run/go ]; do sleep 0.2; done; cat)"
    script = f"curl -sSf {URL} | {reader} | sha256sum >/run/digest"
    lab.client.check_output(
        "rm -f /run/go /run/digest; systemd-run --unit download sh -c %s", script
    )
    wait(lambda: "# splits 1" in lab.ra.file("/proc/net/ktcp/drain").content_string)
    yield
    lab.client.check_output("touch /run/go")
    wait(lambda: not lab.client.service("download").is_running)
    assert lab.client.file("/run/digest").content_string.split()[0] == digest(lab)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_probe_tells_the_loss_under_a_download(lab: Lab, operator: Operator) -> None:
    with downloading(lab):
        code, told = operator.run("probe", "--check")
    assert code == 0, told
    legs = {(trip["source"], trip["destination"]): trip for trip in told["round_trips"]}
    # rb has sent ra what fits into its window, which is much more than the client has read.
    assert legs["rb", "ra"]["sent"] >= 1000, told
    assert legs["rb", "ra"]["loss_ppm"] < 100_000, told


def test_a_change_of_configuration_cuts_no_live_flow(lab: Lab, operator: Operator) -> None:
    loaded = srcversion(lab.ra)
    with downloading(lab), operator.changed(pool={"low": 3, "high": 6}, settings={"turbo": False}):
        code, told = operator.run("rollout", "--waves", "off")
        assert code == 0, told
        assert told["hosts"]["ra"]["state"] == told["hosts"]["rb"]["state"] == "changed"
        assert "low 3 high 6" in lab.ra.file("/proc/net/ktcp/peers").content_string
    assert srcversion(lab.ra) == loaded


def test_a_canary_that_fails_keeps_the_traffic_it_had(lab: Lab, operator: Operator) -> None:
    before = lab.ra.check_output("cat /etc/ktcp/*.conf")
    with taken(lab.ra, 5566), operator.changed(ports={"client": 5557, "relay": 5566}):
        code, told = operator.run("rollout")
    assert code == 5, told
    assert states(told)[0] == (["ra"], "rolled back")
    assert lab.ra.check_output("cat /etc/ktcp/*.conf") == before
    assert lab.ra.check_output("ktcp-apply --check") == ""
    assert split_downloads(lab) == 1


def test_an_upgrade_and_the_way_back(lab: Lab, operator: Operator, tmp_path: Path) -> None:
    old = srcversion(lab.ra)
    source = tmp_path / "kmod"
    shutil.copytree(KMOD, source, ignore=shutil.ignore_patterns("*.o", "*.ko", "*.cmd", "*.mod*"))
    with (source / "main.c").open("a") as file:
        file.write('MODULE_INFO(test, "another module");\n')
    file = operator.inventory / "group_vars/all/source.yml"
    file.write_text(yaml.safe_dump({"ktcp_module_source": str(source)}))
    code, told = operator.run("upgrade", "--limit", "ra")
    assert code == 0, told
    new = srcversion(lab.ra)
    assert new != old
    assert split_downloads(lab) == 1
    code, told = operator.run("upgrade", "--limit", "ra")
    assert (code, told["hosts"]["ra"]["state"]) == (0, "ok")
    code, told = operator.run("rollback", "--limit", "ra")
    assert code == 0, told
    assert srcversion(lab.ra) == old
    assert split_downloads(lab) == 1


def test_the_journal_has_it_all(operator: Operator) -> None:
    code, told = operator.run("history")
    assert code == 0
    runs = [(run["action"], run["outcome"]) for run in reversed(told["runs"])]
    assert runs == [
        ("rollout", "done"),
        ("rollout", "done"),
        ("rollout", "done"),
        ("rollout", "stopped"),
        ("upgrade", "done"),
        ("upgrade", "done"),
        ("rollback", "done"),
    ]
