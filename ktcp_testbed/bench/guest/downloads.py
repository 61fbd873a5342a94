# SPDX-License-Identifier: GPL-2.0-only
"""Downloads by curl, one after the other, each over a new connection."""

import hashlib
from pathlib import Path

from ktcp_testbed.bench.guest import server
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import CommandError
from ktcp_testbed.bench.guest.network import Network, endpoint
from ktcp_testbed.bench.guest.ways import FRESH, WAYS, Place

# The longest that one download may take, in seconds of the guest.
BOUND_S = 120
FEW_RUNS = 5
LARGE_BYTES = 16 * 1024**2
# The same for ways whose relays encrypt and decrypt.
LARGE_TUNNELLED_BYTES = 4 * 1024**2
COPY = Path("/run/copy")
Times = tuple[float, float]


def measure(net: Network, way: str, name: str, size: int, digest: str, runs: int) -> list[Times]:
    """Time downloads of one file over one way, set up anew.

    Returns:
        Seconds to the first and to the last byte, as curl reports them: of the first
        download, when neither neighbours nor windows were known, then of ``runs`` more.

    Raises:
        CommandError: A download failed, or its bytes were not the server's.
    """
    net.forget()
    counts = [1] * (runs + 1) if way in FRESH else [runs + 1]
    found: list[Times] = []
    for number, count in enumerate(counts, start=1):
        with WAYS[way](net) as place:
            found += fetch(net, place, name, size, count)
            if number == len(counts):
                check(net, place, name, digest)
    return found


def runs_of(job: Job, way: str, size: int) -> int:
    """How many downloads are counted: few if they take the host long."""
    large = LARGE_TUNNELLED_BYTES if way.startswith("ssh-") else LARGE_BYTES
    return min(job.runs, FEW_RUNS) if way in FRESH or size > large else job.runs


def fetch(net: Network, place: Place, name: str, size: int, count: int) -> list[Times]:
    """Let one curl make ``count`` downloads, and read their times."""
    # With the query, curl takes them for different URLs; the server ignores it.
    url = f"http://{endpoint(*place)}/{name}?[1-{count}]"
    wanted = "%{time_starttransfer} %{time_total} %{size_download} %{http_code}\\n"
    # curl does not take the brackets of an IPv6 address for a range.
    command = ["curl", "-sS", "-m", str(BOUND_S), "-o", "/dev/null", "-w", wanted, url]
    said = net.client.run(command, timeout=(BOUND_S + 5) * count)
    rows = [line.split() for line in said.splitlines()]
    if len(rows) != count or any(row[2:] != [str(size), "200"] for row in rows):
        raise CommandError(f"curl {url}: wanted {count} times {size} bytes and got\n{said}")
    return [(float(row[0]), float(row[1])) for row in rows]


def check(net: Network, place: Place, name: str, digest: str) -> None:
    """Download once more, and compare the bytes with the server's."""
    url = f"http://{endpoint(*place)}/{name}"
    net.client.run(["curl", "-sS", "-g", "-m", str(BOUND_S), "-o", str(COPY), url])
    with COPY.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    COPY.unlink()
    if found != digest:
        raise CommandError(f"{url}: the bytes are not those of {server.WWW / name}")
