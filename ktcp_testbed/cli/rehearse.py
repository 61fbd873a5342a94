# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh rehearse``: a change of a mesh, tried in a guest before it touches a host."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli.ansible import load, with_options
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.options import Inventories, Limit, from_fields
from ktcp_ops.cli.waves import Canary, Waves
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import actions, waves
from ktcp_ops.mesh.rollout.request import STEPS
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.cli.lab import ReleaseName
from ktcp_testbed.rehearsal import job, session, text
from ktcp_testbed.rehearsal.past import inventories_at
from ktcp_testbed.rehearsal.selection import Selection, select
from ktcp_testbed.rehearsal.verdict import Report

MOST = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of ``rehearse``."""

    inventory_names: Inventories
    revision: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REVISION",
            help="The revision of git at which the inventory says what the relays have now. "
            "Without it they have no KTCP yet.",
        ),
    ] = None
    limit: Limit = None
    steps: Waves = STEPS
    canary: Canary = None
    most: Annotated[
        int,
        typer.Option("--max-relays", min=2, max=16, metavar="N", help="Rehearse with so many."),
    ] = MOST
    release: Annotated[ReleaseName, typer.Option(help="Debian release of the guest.")] = (
        ReleaseName.TRIXIE
    )
    output: OutputOption = Output.TEXT


def rehearse(asked: Asked) -> None:
    """Try a change in a guest before it touches a host: `mesh rollout` without the relays.

    Each relay becomes a network namespace with its own addresses, its distances as far as they
    are known, a client behind each ingress and a target behind each exit. The mesh is brought up as
    it is now (--from), a download starts on each path, and then the change comes in the waves of
    a rollout, by the programs that relays run. No host is asked.

    Shows for each relay how many lines change, and for each path how new flows are served before
    and after, and whether the download arrived whole. Exit code 5 if the rollout would stop in a
    wave: a relay refuses its configuration or does not reach a peer, a download breaks, or a new
    flow is not served, or not split though its whole path has been changed.

    Of several meshes one is rehearsed, which --mesh names.
    """
    chosen = selection(asked)
    perform = session.in_guest(asked.release.value, collection_root() / "build" / "rehearsal")
    report = session.rehearse(job.make(chosen), perform)
    show = partial(print_report, report)
    give(asked.output, report.exit_code, text.to_data(report), show, remarks=text.verdict(report))


def selection(asked: Asked) -> Selection:
    """Read the meshes, divide the relays into waves, and choose what is rehearsed."""
    names = asked.inventory_names
    after = load(names)
    before = past(asked.revision, names) if asked.revision else None
    hosts: Sequence[str] = list(after.relays)
    if asked.limit is not None:
        hosts = actions.hosts_of("rollout", after, names, asked.limit)
    found = waves.build(after, hosts, waves.parse_steps(asked.steps), asked.canary)
    return select(before, after, found, asked.most)


def past(revision: str, inventories: Sequence[str]) -> Mesh:
    """Read the mesh as it was at a revision."""
    with inventories_at(revision, inventories) as copies:
        return load(copies)


def print_report(report: Report) -> None:
    """Print the report for people."""
    console.print_table(text.WAVES, [text.wave_row(wave) for wave in report.waves])
    console.print_line("")
    console.print_table(text.RELAYS, [text.relay_row(relay) for relay in report.relays])
    console.print_line("")
    console.print_table(text.PATHS, [text.path_row(path) for path in report.paths])
    for note in text.notes(report):
        console.print_line(note)


command = with_options("rehearse", from_fields(Asked, rehearse))
