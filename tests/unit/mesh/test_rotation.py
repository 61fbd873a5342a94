# SPDX-License-Identifier: GPL-2.0-only
"""The phases of a key rotation; at each moment every two relays have a key in common."""

from itertools import pairwise, product

import pytest

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.journal.journal import Outcome, Run
from ktcp_ops.mesh.keys.rotation import ACTION, Phase, Rotation, after, begun, standing
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.relay.plan import plan
from tests.unit.mesh.conftest import KEY, make_description

KEYS = {1: KEY, 2: KEY[::-1], 3: "5a" + KEY[2:]}
ALL = (Phase.ADD, Phase.USE, Phase.REMOVE)


def mesh_with(used: int, *numbers: int) -> Mesh:
    """A mesh that has these keys and uses one of them."""
    keys = {str(number): KEYS.get(number, KEY) for number in numbers}
    return read(make_description(lambda mesh: mesh.update(key=used), keys=keys))


def a_run(phase: Phase, key: int, outcome: Outcome = Outcome.DONE, used: int | None = None) -> Run:
    """A run of the journal."""
    run = Run.begin(
        ACTION,
        mesh=mesh_with(used or key, used or key),
        inventories=["inv"],
        limit=None,
        waves=[("rc",), ("rs",)],
        options={"phase": str(phase), "key": key},
    )
    return run.finished(outcome)


ADDED = a_run(Phase.ADD, 2)
USED = a_run(Phase.USE, 2)


@pytest.mark.parametrize(
    ("mesh", "runs", "wanted"),
    [
        (mesh_with(1, 1), [], Rotation(2, ALL)),
        (mesh_with(1, 1, 2), [], Rotation(2, ALL)),
        (mesh_with(2, 1, 2, 3), [], Rotation(3, ALL)),
        (mesh_with(2, 1, 2), [ADDED], Rotation(2, ALL[1:])),
        (mesh_with(2, 1, 2), [USED, ADDED], Rotation(2, ALL[1:])),
        (mesh_with(2, 2), [USED, ADDED], Rotation(2, ALL[2:])),
        (mesh_with(2, 2), [a_run(Phase.REMOVE, 2, Outcome.STOPPED)], Rotation(2, ALL[2:])),
        (mesh_with(2, 2), [a_run(Phase.REMOVE, 2), USED], Rotation(3, ALL)),
        (mesh_with(3, 3), [USED, ADDED], Rotation(4, ALL)),
    ],
)
def test_where_a_rotation_stands(mesh: Mesh, runs: list[Run], wanted: Rotation) -> None:
    assert standing(mesh, runs) == wanted


@pytest.mark.parametrize(
    ("mesh", "runs", "said"),
    [
        (Mesh(), [], "no key in use"),
        (mesh_with(1, 1, 2, 3), [], "several keys above 1, which is in use: 2, 3"),
        (mesh_with(65535, 65535), [], "65535 is the last number"),
        # Nobody knows whether relays have the new key: using it may cut them off.
        (mesh_with(2, 1, 2), [], "no run in the journal has added it to all relays"),
        (mesh_with(2, 1, 2), [a_run(Phase.ADD, 2, Outcome.STOPPED)], "Write `key: 1`"),
        (mesh_with(3, 1, 2, 3), [ADDED], "Write `key: 2`"),
    ],
)
def test_what_could_leave_a_gap_is_refused(mesh: Mesh, runs: list[Run], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        standing(mesh, runs)


def test_whichever_relays_a_phase_has_come_to_every_two_share_the_key_that_each_proves() -> None:
    states = [mesh_with(1, 1)]
    for phase in ALL:
        states.append(after(states[-1], phase, 2, KEYS[2]))
    assert [(mesh.key, sorted(mesh.keys)) for mesh in states] == [
        (1, [1]),
        (1, [1, 2]),
        (2, [1, 2]),
        (2, [2]),
    ]
    for old, new in pairwise(states):
        for one, other in product((plan(old), plan(new)), repeat=2):
            proved = {line.split()[-1] for line in one["rc"]["conf"]["peers"]}
            assert proved
            for number in map(int, proved):
                assert one["rc"]["keys"][number] == other["rs"]["keys"][number]


def test_one_rollout_of_both_would_leave_a_gap() -> None:
    """This is why the rotation has phases."""
    old, new = plan(mesh_with(1, 1)), plan(mesh_with(2, 2))
    (line,) = new["rc"]["conf"]["peers"]
    assert int(line.split()[-1]) not in old["rs"]["keys"]


def test_a_phase_that_did_not_end_well_is_gone_on_with() -> None:
    stopped = a_run(Phase.ADD, 2, Outcome.INTERRUPTED, used=1)
    mesh = mesh_with(1, 1, 2)
    found = begun([stopped], Phase.ADD, mesh, 2)
    assert found is not None
    assert (found.id, found.outcome) == (stopped.id, Outcome.RUNNING)
    for runs, phase, other in (
        ([], Phase.ADD, mesh),
        ([ADDED], Phase.ADD, mesh),
        ([stopped], Phase.USE, mesh),
        ([stopped], Phase.ADD, mesh_with(2, 1, 2)),
    ):
        assert begun(runs, phase, other, 2) is None
