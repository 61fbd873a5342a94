# SPDX-License-Identifier: GPL-2.0-only
"""``./dev lab``: virtual machines to try a mesh in."""

import os
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.errors import ExitCode, UnreachableError, UsageError
from ktcp_testbed.lab import ssh, topology
from ktcp_testbed.lab.lab import Lab
from ktcp_testbed.lab.status import LabStatus, absent

app = typer.Typer(no_args_is_help=True, help="Boot, look at and stop a lab of virtual machines.")


class ReleaseName(StrEnum):
    """The Debian release of the guests."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"


Directory = Annotated[
    Path,
    typer.Option("--dir", envvar="KTCP_LAB_DIR", help="Where the lab keeps its files."),
]
Format = OutputOption

DEFAULT_DIRECTORY = Path("build/lab")


@app.callback()
def group() -> None:
    """Boot, look at and stop a lab of virtual machines."""


@app.command()
def up(
    *,
    topology_name: Annotated[
        str, typer.Option("--topology", help="paper, single, clouds, or a YAML file.")
    ] = "paper",
    release: Annotated[
        ReleaseName, typer.Option("--release", help="Debian release of the guests.")
    ] = ReleaseName.TRIXIE,
    directory: Directory = DEFAULT_DIRECTORY,
    output: Format = Output.TEXT,
) -> None:
    """Boot the guests, link them, and measure the links."""
    lab = Lab(topology.find(topology_name), directory, release.value)
    show(lab.up(), output)


@app.command()
def down(
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for the guests to switch themselves off.")
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Stop the guests and remove all files of the lab."""
    lab = Lab.find(directory)
    if lab is None:
        console.print_note(f"lab: none is up in {directory}")
    else:
        lab.down(graceful=not now)
    if output is Output.JSON:
        show(absent(directory), output)


@app.command()
def status(*, directory: Directory = DEFAULT_DIRECTORY, output: Format = Output.TEXT) -> None:
    """Show the state of the guests and links. Exit code 1 if the lab is not up."""
    lab = Lab.find(directory)
    show(absent(directory) if lab is None else lab.status(), output, expected="up")


@app.command()
def calibrate(*, directory: Directory = DEFAULT_DIRECTORY, output: Format = Output.TEXT) -> None:
    """Measure the links again, with what runs in the guests now, and correct them."""
    show(existing(directory).recalibrate(), output)


@app.command(
    name="ssh", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def into(
    context: typer.Context,
    host: Annotated[str, typer.Argument(help="A guest of the lab.")],
    *,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Open a shell in a guest as root, or run a command there."""
    lab = existing(directory)
    guest = lab.guest(host)
    if not guest.alive():
        raise UnreachableError(f"guest {host} has stopped: ./dev lab up starts it again")
    command = ssh.shell_command(lab.ssh_config, host, context.args)
    os.execvp(command[0], command)


def existing(directory: Path) -> Lab:
    """The lab in ``directory``.

    Raises:
        UsageError: there is none.
    """
    lab = Lab.find(directory)
    if lab is None:
        raise UsageError(f"no lab is up in {directory}: ./dev lab up")
    return lab


def show(found: LabStatus, output: Output, expected: str = "") -> None:
    """Print the state of a lab; if it is not the expected one, that is a failure."""
    code = ExitCode.OK if expected in ("", found.state) else ExitCode.FAILED
    give(output, code, asdict(found), partial(print_state, found))


def print_state(found: LabStatus) -> None:
    """Print the state of a lab for people."""
    if found.state == "down":
        console.print_line(f"lab: none is up in {found.directory}")
        return
    console.print_line(
        f"lab {found.topology} (Debian {found.release}) in {found.directory}: {found.state}"
    )
    console.print_table(
        ["guest", "state", "ssh port", "pid", "addresses"],
        [
            [each.name, each.state, str(each.port), str(each.pid), " ".join(each.addresses)]
            for each in found.guests
        ],
    )
    if found.links:
        console.print_table(
            ["link", "RTT ms", "IPv4", "IPv6"],
            [
                [each.name, f"{each.wanted_ms:g}", measured(each.rtt4_ms), measured(each.rtt6_ms)]
                for each in found.links
            ],
        )


def measured(rtt_ms: float | None) -> str:
    """A round-trip time for the table; a dash before it is measured."""
    return "-" if rtt_ms is None else f"{rtt_ms:.2f}"
