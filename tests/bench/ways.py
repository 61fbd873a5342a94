# SPDX-License-Identifier: GPL-2.0-only
"""Measures the cost of planning a large mesh: a full mesh with measured round trips.

    ./dev run python -m tests.bench.ways --relays 1000

Each relay is the ingress of a path with `via: auto`. Reading with the choice of ways, predicting,
finding shortcuts and planning are timed in one process, in seconds of CPU time, which other work
on this host does not change. Its peak memory is printed, too. Prints JSON.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import hypot
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.description import Description
from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.observation import shortcuts
from ktcp_ops.mesh.observation.gains import predict
from ktcp_ops.mesh.relay.plan import plan


def describe(names: list[str], exits: int, hops: int, path: str) -> Description:
    """Describe a full mesh with a path from each relay, each of `exits` relays as often."""
    ends = names[:exits]
    return Description(
        mesh={
            "pairs": "full_mesh",
            "auto": {"max_hops": hops},
            "paths": [
                {
                    "name": f"from-{name}",
                    "ingress": name,
                    "via": "auto",
                    "exits": [ends[-1 - number % exits]],
                    "destinations": ["203.0.113.0/24"],
                }
                for number, name in enumerate(names)
            ],
            "exits": {name: [{"allow": "203.0.113.0/24"}] for name in ends},
        },
        keys={"1": "0123456789abcdef" * 4},
        relays={
            name: {"ktcp_address": f"10.0.{number // 250}.{number % 250 + 1}"}
            for number, name in enumerate(names)
        },
        hosts=tuple(names),
        source="bench",
        latency=path,
    )


def measured(names: list[str], path: str) -> Latency:
    """Make up round trips of up to 0.3 s, each a tenth to twice as long as the distance."""
    chance = random.Random(1)
    places = {name: (chance.random(), chance.random()) for name in names}
    rtts: dict[str, dict[str, int]] = {}
    for number, one in enumerate(names):
        rtts[one] = {
            other: 500 + round(200_000 * far(places[one], places[other]) * chance.uniform(1.1, 2))
            for other in names[number + 1 :]
        }
    return Latency(path, rtts=rtts)


def far(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Give the distance of two places."""
    return hypot(one[0] - other[0], one[1] - other[1])


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Time a step."""
    begin = time.process_time()
    yield
    seconds[name] = round(time.process_time() - begin, 2)


def main() -> None:
    """Take the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--relays", type=int, default=1000)
    parser.add_argument("--exits", type=int, default=1000, help="relays where paths end")
    parser.add_argument("--hops", type=int, default=2, help="relays behind an ingress, at most")
    options = parser.parse_args()
    names = [f"relay{number:04}" for number in range(options.relays)]
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ktcp-ways-") as directory:
        path = str(Path(directory) / "latency.txt")
        measured(names, path).save()
        description = describe(names, options.exits, options.hops, path)
        with timed(seconds, "read"):
            mesh = read(description)
    with timed(seconds, "predict"):
        gained = list(predict(mesh))
    with timed(seconds, "shortcuts"):
        shorter = shortcuts.find(mesh, names)
    with timed(seconds, "plan"):
        nodes = plan(mesh)
    console.print_json(
        {
            **vars(options),
            "cpu_seconds": {**seconds, "all": round(sum(seconds.values()), 2)},
            "highest_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "paths": len(gained),
            "longer_ways": sum(len(gain.relays) > 2 for gain in gained),
            "shortcuts": shorter.count,
            "nodes": len(nodes),
        }
    )


if __name__ == "__main__":
    main()
