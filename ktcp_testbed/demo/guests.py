# SPDX-License-Identifier: GPL-2.0-only
"""What the demonstration asks of the lab's guests over ssh, and how it reads the answers."""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from ktcp_ops.errors import KtcpError, UnreachableError
from ktcp_testbed.demo import process
from ktcp_testbed.demo.results import Download, Way

# The mesh has a path for port 80; the server's other port is routed as before.
PORTS = {Way.ROUTED: 8080, Way.KTCP: 80}
FILES = {"10k": 10_240, "100k": 102_400, "1m": 1_048_576, "10m": 10_485_760}

PINGS = 5
ANSWER_S = 60.0

# A fetch is given up after a minute, twenty times what the slowest one needs. Before each one the
# relays get time to rest: closing a split and filling the pool again takes two round trips.
FETCH = """
set -u
body=$(mktemp /dev/shm/ktcp-demo.XXXXXXXX)
trap 'rm -f "$body"' EXIT
fetch() {
    sleep 0.6
    times=$(curl --silent --show-error --fail --max-time 60 --output "$body" \\
        --write-out '%{time_namelookup} %{time_starttransfer} %{time_total}' "$3") || exit 1
    sum=$(sha256sum <"$body")
    size=$(stat --format %s "$body")
    echo "$1 $2 $size $times ${sum%% *}"
}
"""


class Guests:
    """The guests of the running lab, reached by its `ssh_config`."""

    def __init__(self, ssh_config: Path) -> None:
        self.ssh_config = ssh_config

    def ssh(self, guest: str, command: str) -> list[str]:
        """The command line that runs a shell command on a guest."""
        return ["ssh", "-F", str(self.ssh_config), guest, command]

    def ask(self, guest: str, command: str) -> str:
        """Run a shell command on a guest; return what it prints.

        Raises:
            UnreachableError: ssh did not reach it, or had no answer in time.
            KtcpError: The command failed.
        """
        try:
            answer = subprocess.run(
                self.ssh(guest, command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"{guest}: no answer in {ANSWER_S:g} s to: {command}") from error
        if answer.returncode == 255:
            raise UnreachableError(f"{guest}: {answer.stderr.strip()}")
        if answer.returncode != 0:
            raise KtcpError(f"{guest}: {command} failed: {answer.stderr.strip()}")
        return answer.stdout

    def procfs(self, relay: str, name: str) -> dict[str, str]:
        """A file of `name value` lines below /proc/net/ktcp of a relay."""
        return pairs(self.ask(relay, f"cat /proc/net/ktcp/{name}"))

    def write(self, relay: str, name: str, values: Mapping[str, str]) -> None:
        """Write `name value` lines to a file below /proc/net/ktcp of a relay, in one go."""
        lines = "".join(f"{key} {value}\\n" for key, value in values.items())
        self.ask(relay, f"printf '{lines}' >/proc/net/ktcp/{name}")

    def pool(self, relay: str) -> tuple[int, int]:
        """How many connections to its peers a relay has ready, and how many it is making."""
        text = self.ask(relay, "cat /proc/net/ktcp/peers")
        found = re.findall(r" ready (\d+) connecting (\d+) ", text)
        return sum(int(ready) for ready, _ in found), sum(int(made) for _, made in found)

    def round_trip(self, guest: str, neighbour: IPv4Address) -> float:
        """The median round-trip time in seconds from a guest to a neighbour's address."""
        return median(ping_times(self.ask(guest, f"ping -n -c {PINGS} -i 0.3 {neighbour}")))

    def checksums(self, server: str) -> dict[int, str]:
        """Size -> SHA-256 of the files, as the server fetches them from itself."""
        local = " ".join(FILES)
        text = self.ask(
            server,
            f"for name in {local}; do "
            f"curl --silent --fail http://127.0.0.1:{PORTS[Way.ROUTED]}/$name | sha256sum; done",
        )
        return dict(
            zip(FILES.values(), (line.split()[0] for line in text.splitlines()), strict=True)
        )

    def fetch(
        self,
        client: str,
        server: IPv4Address,
        *,
        runs: int,
        done: Callable[[Download], None],
        files: Sequence[str] = tuple(FILES),
        ways: Sequence[Way] = tuple(Way),
    ) -> list[Download]:
        """Download every file each way in turn, `runs` times, and report each one to `done`.

        Raises:
            KtcpError: A download failed; curl's words are on stderr.
        """
        downloads = []
        script = fetch_script(server, runs=runs, files=files, ways=ways)
        command = self.ssh(client, script)
        with process.running(command, stdout=subprocess.PIPE) as ssh:
            for line in ssh.stdout or ():
                downloads.append(read_download(line))
                done(downloads[-1])
        process.check(ssh.returncode, f"{client}: a download failed")
        return downloads


def fetch_script(
    server: IPv4Address,
    *,
    runs: int,
    files: Sequence[str] = tuple(FILES),
    ways: Sequence[Way] = tuple(Way),
) -> str:
    """A shell script that fetches every file each way, `runs` times over."""
    calls = [
        f"fetch {run} {way} http://{server}:{PORTS[way]}/{name}"
        for run in range(1, runs + 1)
        for name in files
        for way in ways
    ]
    return FETCH + "\n".join(calls) + "\n"


def read_download(line: str) -> Download:
    """Read a download from the line that the script prints about it.

    Raises:
        KtcpError: The line has another form.
    """
    try:
        run, way, size, *times, sha256 = line.split()
        # There is no name to look up, so the SYN is sent at time_namelookup. curl takes the
        # time before for itself.
        begun, first_byte, total = (float(time) for time in times)
        return Download.model_validate(
            {
                "run": run,
                "way": way,
                "size": size,
                "first_byte": round(first_byte - begun, 6),
                "total": round(total - begun, 6),
                "sha256": sha256,
            }
        )
    except (ValueError, ValidationError) as error:
        raise KtcpError(f"client: not a download's figures: {line.strip()!r}") from error


def ping_times(text: str) -> list[float]:
    """The round-trip times in seconds that ping printed.

    Raises:
        KtcpError: There are none.
    """
    times = [float(value) / 1000 for value in re.findall(r"time=([0-9.]+) ms", text)]
    if not times:
        raise KtcpError(f"ping had no answer: {text.strip()}")
    return times


def pairs(text: str) -> dict[str, str]:
    """Read `name value` lines into a dictionary, without comments and blank lines."""
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0][0] != "#"}


def differing(downloads: Sequence[Download], checksums: Mapping[int, str]) -> list[Download]:
    """The downloads whose bytes differ from the server's."""
    return [d for d in downloads if checksums.get(d.size) != d.sha256]
