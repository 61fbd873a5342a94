# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops doctor``: what is wrong with the relays' hosts, and what to do about it."""

from collections.abc import Sequence
from functools import partial

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Inventories, Limit
from ktcp_ops.mesh.diagnosis import doctor
from ktcp_ops.mesh.diagnosis.doctor import Diagnosis
from ktcp_ops.mesh.diagnosis.finding import Severity
from ktcp_ops.mesh.model.mesh import Mesh

STYLES = {
    Severity.ERROR: "failed",
    Severity.DRIFT: "changed",
    Severity.WARNING: "changed",
    Severity.HINT: "skipped",
}


def examine(
    inventory_names: Inventories, limit: Limit = None, output: OutputOption = Output.TEXT
) -> None:
    """Examine everything on the relays' hosts that KTCP depends on. Changes nothing.

    Kernels, headers, modules and Secure Boot; services, and what differs from the relay's files
    and from the mesh; forwarding, rp_filter, conntrack, clock; routes and MTU to the peers and
    routes to the targets; what a cloud has to allow.

    A finding is an error (users notice), drift, a warning or a hint; it says what was seen, what
    that means and what to do. Exit code 1 if there is an error, 6 if there is only drift, 4 if a
    relay is unreachable; warnings and hints do not count.
    """
    meshes = load_all(inventory_names, limit)
    give_each(
        output, {mesh.name: partial(examined, mesh, inventory_names, limit) for mesh in meshes}
    )


def examined(mesh: Mesh, inventories: Sequence[str], limit: str | None) -> Answer:
    """Examine the hosts of a mesh."""
    result, diagnoses = doctor.examine(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        limit=limit,
    )
    return Answer(
        code=doctor.exit_code(result, diagnoses),
        data={"relays": {found.relay: doctor.to_data(found) for found in diagnoses}},
        show=partial(show_all, diagnoses),
        remarks=result.remarks,
    )


def show_all(diagnoses: Sequence[Diagnosis]) -> None:
    """Print the findings of all relays."""
    for diagnosis in diagnoses:
        show(diagnosis)


def show(diagnosis: Diagnosis) -> None:
    """Print a relay's findings, three lines each."""
    if diagnosis.reason:
        console.print_line(f"{diagnosis.relay}: not examined: {diagnosis.reason}", "failed")
    elif not diagnosis.findings:
        console.print_line(f"{diagnosis.relay}: nothing is wrong", "ok")
    for finding in diagnosis.findings:
        head = f"{diagnosis.relay}: {finding.severity}: {finding.check}: {finding.seen}"
        console.print_line(head, STYLES[finding.severity])
        console.print_line(f"  means  {finding.meaning}")
        console.print_line(f"  fix    {finding.fix}")
