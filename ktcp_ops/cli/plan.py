# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh validate|schema|plan``: a mesh as it is described, and what it leads to."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Inventories, Limit, Relays
from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh.checks import services
from ktcp_ops.mesh.inventory import schema
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import gains, shortcuts
from ktcp_ops.mesh.rollout import change, preview
from ktcp_ops.mesh.rollout.preview import LivePreview, Preview


def validate(inventory_names: Inventories, output: OutputOption = Output.TEXT) -> None:
    """Check a mesh without touching any host.

    Every error is reported at once, each on a line: the file, the key in it, what is wrong and
    how to correct it. Exit code 3 if there is any. Of several meshes, all are checked, and that
    no host and no key is in two of them.
    """
    meshes = load_all(inventory_names)
    give_each(output, {mesh.name: partial(validated, inventory_names, mesh) for mesh in meshes})


def validated(inventory_names: Sequence[str], mesh: Mesh) -> Answer:
    """Say of a valid mesh how large it is, and what is worth a note."""
    counts = {"relays": len(mesh.relays), "pairs": mesh.pair_count, "paths": len(mesh.paths)}
    notes = list(services.open_services(mesh))
    said = ", ".join(
        f"{number} {word.removesuffix('s') if number == 1 else word}"
        for word, number in counts.items()
    )
    lines = [
        *(f"note: {note}" for note in notes),
        f"{', '.join(inventory_names)}: the mesh is valid: {said}",
    ]
    data = {"valid": True, "problems": [], "notes": notes, **counts}
    show = partial(console.print_line, "\n".join(lines))
    return Answer(code=ExitCode.OK, data=data, show=show)


def show_schema() -> None:
    """Print the JSON Schema of the file that holds ktcp_mesh, for editors.

    A file of variables names it in its first line:
    `# yaml-language-server: $schema=PATH`. It checks each value by itself; whether they fit
    together is checked by `mesh validate`.
    """
    console.print_json(schema.schema())


def show_plan(
    inventory_names: Inventories,
    relays: Relays = None,
    limit: Limit = None,
    output: OutputOption = Output.TEXT,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the relays, and show what would change on them.")
    ] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="With --live: exit code 6 if anything would change.")
    ] = False,
) -> None:
    """Show what each relay has to hold: the lines of its /proc/net/ktcp and its steering.

    Computed from the description alone; no host is asked. Keys are shown by number only. Once
    `mesh probe` has measured, a table of the paths shows how long their legs are, and what the
    model predicts: the time to the first byte in ms and the Mbit/s of a megabyte's download,
    routed and split. Another table lists pairs of relays that are faster over a third relay.

    With --live the relays are asked, and only what a rollout would change is shown: the lines
    that /proc/net/ktcp would gain (+) and lose (-), the module's version, the tasks that would
    act, and what becomes of live splits. Exit code 4: a relay is unreachable; 1: a dry run failed.
    """
    if drift and not live:
        raise UsageError("--drift needs --live, which asks the relays")
    meshes = preview.with_relays(load_all(inventory_names, limit), relays or ())
    act = partial(surveyed, drift=drift) if live else planned
    show = partial(act, inventories=inventory_names, relays=relays or (), limit=limit)
    give_each(output, {mesh.name: partial(show, mesh) for mesh in meshes})


def planned(
    mesh: Mesh, *, inventories: Sequence[str], relays: Sequence[str], limit: str | None
) -> Answer:
    """Say what relays of a mesh have to hold."""
    found = preview.preview(mesh, inventories, relays, limit)
    return Answer(code=ExitCode.OK, data=found.to_data(), show=partial(print_plan, found))


def surveyed(
    mesh: Mesh, *, inventories: Sequence[str], relays: Sequence[str], limit: str | None, drift: bool
) -> Answer:
    """Ask relays of a mesh what would change."""
    asked = preview.ask(
        preview.preview(mesh, inventories, relays, limit),
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        drift=drift,
    )
    return Answer(
        code=asked.exit_code,
        data=asked.to_data(),
        show=partial(print_survey, asked),
        remarks=asked.survey.remarks,
    )


def print_plan(found: Preview) -> None:
    """Print what relays have to hold, and what paths gain."""
    for name, node in found.nodes.items():
        print_node(name, node)
    print_gains(found)


def print_survey(asked: LivePreview) -> None:
    """Print what would change on relays."""
    print_gains(asked.chosen)
    for relay in asked.survey.relays:
        for line in change.text(relay):
            console.print_line(line)


def print_gains(found: Preview) -> None:
    """Print what paths and pairs of relays gain, a line each, once anything has been measured."""
    if any(gain.split for gain in found.gained):
        console.print_table(gains.COLUMNS, [gains.row(gain) for gain in found.gained])
    shorter = found.shorter
    if shorter.best:
        console.print_table(shortcuts.COLUMNS, [shortcuts.row(one) for one in shorter.best])
    if shorter.count > len(shorter.best):
        console.print_line(f"and {shorter.count - len(shorter.best)} more")


def print_node(name: str, node: dict[str, Any]) -> None:
    """Print a node, a line for each line that its relay will hold."""
    console.print_line(name)
    for number in node["keys"]:
        console.print_line(f"  {'keys':<12} add {number} (secret)")
    for file, lines in node["conf"].items():
        for line in lines:
            console.print_line(f"  {file:<12} {line}")
    held = {found["name"]: found["entries"] for found in (*node["sets4"], *node["sets6"])}
    for chain in node["steering"]:
        for rule in (*chain["rules4"], *chain["rules6"]):
            ports = ",".join(map(str, rule["ports"])) or "all ports"
            sources = " from " + ",".join(held[rule["sources"]]) if rule["sources"] else ""
            for entry in held[rule["destinations"]]:
                prefix, _, exception = entry.partition(" ")
                console.print_line(
                    f"  {'steering':<12} {chain['chain']} mark {chain['mark']} "
                    f"{'not ' if exception else ''}to {prefix} {ports}{sources}"
                )
