# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh``: the commands about a mesh of relays."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli.watch import watch
from ktcp_ops.cli.workers import choose, make_engine
from ktcp_ops.errors import ExitCode, InterruptedByUserError, InvalidMeshError, UsageError
from ktcp_ops.mesh import change, gains, inventory, relay_check, rollout, schema, status, verify
from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.plan import Node, plan
from ktcp_ops.mesh.redact import without_keys
from ktcp_ops.run.result import RunResult

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=choose,
    help="""Describe, roll out, look at, check and remove a mesh.

    The mesh is data in an Ansible inventory: a group of relays, each with ktcp_address (the
    address on which the other relays reach it) and, where a transparent path ends,
    ktcp_inside_interface (where the targets' packets come in); ktcp_mesh and ktcp_keys in
    group_vars/all; and a file mesh.ktcp.yml with the line `plugin: ktcp_mesh`. See
    inventories/example.

    Vault passwords come as Ansible wants them, from ansible.cfg or ANSIBLE_VAULT_PASSWORD_FILE.
    """,
)


class Output(StrEnum):
    """How data is written on stdout."""

    TEXT = "text"
    JSON = "json"


Inventories = Annotated[
    list[str],
    typer.Option(
        "--inventory",
        "-i",
        metavar="INVENTORY",
        help="Ansible inventory: a file, or a directory with hosts, group_vars and mesh.ktcp.yml. "
        "Can be given several times.",
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="PATTERN",
        help="Only these hosts: an Ansible pattern like rc or 'relays:!rs'.",
    ),
]
Relays = Annotated[
    list[str] | None,
    typer.Option("--relay", metavar="NAME", help="Only this relay. Can be given several times."),
]
Check = Annotated[
    bool, typer.Option("--check", help="Change nothing; report what would be changed.")
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="What to write on stdout: text or json.")
]


def load(inventories: list[str], output: Output) -> Mesh:
    """Read the mesh; an invalid one is told as data too, for who asked for data."""
    try:
        return inventory.load(inventories)
    except InvalidMeshError as error:
        if output is Output.JSON:
            problems = list(error.problems)
            console.print_json(
                {"exit_code": int(error.exit_code), "valid": False, "problems": problems}
            )
        raise


@app.command()
def validate(inventory_names: Inventories, output: OutputOption = Output.TEXT) -> None:
    """Check a mesh without touching any host.

    Every error is reported at once, a line each: the file, the key in it, what is wrong and
    how to put it right. Exit code 3 if there is any.
    """
    mesh = load(inventory_names, output)
    counts = {"relays": len(mesh.relays), "pairs": pair_count(mesh), "paths": len(mesh.paths)}
    notes = list(relay_check.open_services(mesh))
    if output is Output.JSON:
        console.print_json(
            {"exit_code": 0, "valid": True, "problems": [], "notes": notes, **counts}
        )
        return
    for note in notes:
        console.print_line(f"note: {note}")
    said = ", ".join(
        f"{number} {word.removesuffix('s') if number == 1 else word}"
        for word, number in counts.items()
    )
    console.print_line(f"{', '.join(inventory_names)}: the mesh is valid: {said}")


def pair_count(mesh: Mesh) -> int:
    """Count the pairs of relays that keep connections to each other."""
    relays = len(mesh.relays)
    return relays * (relays - 1) // 2 if mesh.pairs is None else len(mesh.pair_set)


@app.command(name="schema")
def show_schema() -> None:
    """Print the JSON Schema of the file that holds ktcp_mesh, for editors.

    A file of variables names it in its first line:
    `# yaml-language-server: $schema=PATH`. It knows each value, not how they fit together;
    that is for `mesh validate`.
    """
    console.print_json(schema.schema())


@app.command(name="plan")
def show_plan(
    inventory_names: Inventories,
    relays: Relays = None,
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
    `mesh probe` has measured, a table of the paths says how long their legs are, and by the
    model the time to the first byte in ms and the Mbit/s of a megabyte, routed and split.

    With --live the relays are asked, and only what a rollout would change is shown: the lines
    that /proc/net/ktcp would gain (+) and lose (-), the module's version, the tasks that would
    change something, and what becomes of live splits. Nothing is changed. Exit code 4 if a
    relay is unreachable, 1 if the dry run failed on one.
    """
    if drift and not live:
        raise UsageError("--drift needs --live, which asks the relays")
    mesh = load(inventory_names, output)
    nodes = plan(mesh)
    strangers = sorted(set(relays or ()) - set(nodes))
    if strangers:
        raise UsageError(f"{', '.join(strangers)}: not in the mesh; `mesh plan` lists its relays")
    wanted = relays or nodes
    gained = [gain for gain in gains.predict(mesh) if gain.relays[0] in wanted]
    if live:
        show_changes(mesh, nodes, gained, relays, inventory_names, drift=drift, output=output)
        return
    shown = {name: without_keys(node) for name, node in nodes.items() if name in wanted}
    if output is Output.JSON:
        console.print_json({"exit_code": 0, "relays": shown, "paths": gains.to_data(gained)})
        return
    for name, node in shown.items():
        print_node(name, node)
    print_gains(gained)


def print_gains(gained: list[gains.Gain]) -> None:
    """Print what paths gain, a line each, once anything has been measured."""
    if any(gain.split for gain in gained):
        console.print_table(gains.COLUMNS, [gains.row(gain) for gain in gained])


def show_changes(
    mesh: Mesh,
    nodes: dict[str, Node],
    gained: list[gains.Gain],
    relays: list[str] | None,
    inventory_names: list[str],
    *,
    drift: bool,
    output: Output,
) -> None:
    """Ask the relays, show what a rollout would change, and end with the exit code of that."""
    engine, reporter = make_engine(), console.Progress()
    limit = ",".join(relays) if relays else None
    asked, states = status.fetch(
        engine=engine, reporter=reporter, mesh=mesh, inventories=inventory_names, limit=limit
    )
    if asked.canceled:
        end_with(asked)
    tried = rollout.run(
        "rollout",
        engine=engine,
        reporter=reporter,
        mesh=mesh,
        inventories=inventory_names,
        limit=limit,
        check=True,
    )
    hosts = {host.host: host for host in tried.hosts}
    found = [
        change.compare(nodes[state.relay], state, hosts.get(state.relay))
        for state in states
        if state.relay in nodes
    ]
    code = max(asked.exit_code, tried.exit_code)
    if code is ExitCode.OK and drift and change.any_drifted(found):
        code = ExitCode.DRIFT
    if output is Output.JSON:
        data = {relay.relay: change.to_data(relay) for relay in found}
        paths = gains.to_data(gained)
        console.print_json({"exit_code": int(code), "relays": data, "paths": paths})
    else:
        print_gains(gained)
        for relay in found:
            for line in change.text(relay):
                console.print_line(line)
        failed = [host for host in tried.hosts if host.failed_task]
        for host in failed:
            console.print_error(f"{host.host}: {host.failed_task}: {one_line(host.message or '')}")
    end_with(asked)
    end_with(tried)
    if code is not ExitCode.OK:
        raise typer.Exit(int(code))


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


@app.command()
def remove(
    inventory_names: Inventories,
    limit: Limit = None,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take KTCP off the hosts: steering first, then the module, then every file.

    Runs playbooks/teardown.yml. Traffic goes on by plain routing; open splits are reset.
    """
    run_action("remove", inventory_names, limit=limit, check=check, output=output)


@app.command()
def drain(
    inventory_names: Inventories,
    limit: Limit = None,
    deadline: Annotated[
        int, typer.Option("--deadline", min=0, help="Seconds that live splits may take to end.")
    ] = 0,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let relays take no new split: new flows pass by plain routing, live splits go on.

    With --deadline the command waits for live splits to end, and a relay that still has some
    by then counts as failed (exit code 1); it stays drained. So it does until `mesh undrain`,
    or until its module is loaded anew. A service port takes no new connection meanwhile.
    """
    run_action(
        "drain",
        inventory_names,
        limit=limit,
        check=check,
        output=output,
        options={"ktcp_drain": "on", "ktcp_drain_deadline": deadline},
    )


@app.command()
def undrain(
    inventory_names: Inventories,
    limit: Limit = None,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let drained relays take new splits again.

    Relays that take them already are not changed. Flows that began while a relay drained stay
    as they are, unsplit, until they end.
    """
    run_action(
        "undrain",
        inventory_names,
        limit=limit,
        check=check,
        output=output,
        options={"ktcp_drain": "off", "ktcp_drain_deadline": 0},
    )


def run_action(
    action: str,
    inventory_names: list[str],
    *,
    limit: str | None,
    check: bool,
    output: Output,
    options: dict[str, Any] | None = None,
) -> None:
    """Run an action's playbook, print its report and end with its exit code."""
    result = rollout.run(
        action,
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=load(inventory_names, output),
        inventories=inventory_names,
        limit=limit,
        check=check,
        options=options,
    )
    if output is Output.JSON:
        console.print_json({"command": action, "check": check, **result.to_data()})
    else:
        print_result(result)
        if check:
            print_changes(result)
    end_with(result)


def print_changes(result: RunResult) -> None:
    """Print what a run would change, a line for each host and task."""
    for host in result.hosts:
        for task in host.changed_tasks:
            console.print_line(f"{host.host} would change: {task}")


def print_result(result: RunResult) -> None:
    """Print a run's hosts, a line each."""
    if result.hosts:
        console.print_table(
            ("HOST", "STATE", "OK", "CHANGED", "FAILED TASK", "MESSAGE"),
            [
                (
                    host.host,
                    str(host.state),
                    str(host.ok),
                    str(host.changed),
                    host.failed_task or "-",
                    one_line(host.message or "-"),
                )
                for host in result.hosts
            ],
        )


def one_line(text: str) -> str:
    """Fold a message into one line, so that a line stays a host."""
    return " ".join(text.split())


def end_with(result: RunResult, *, failed: bool = False) -> None:
    """End with the exit code of a run; ``failed`` is for what the run itself cannot know."""
    if result.complaint:
        console.print_error(result.complaint)
    if result.complete and not result.hosts:
        console.print_error("no host was selected; see --limit and the inventory")
        raise typer.Exit(int(ExitCode.FAILED))
    code = result.exit_code
    if code is ExitCode.INTERRUPTED:
        raise InterruptedByUserError("interrupted; hosts keep what was done so far, run it again")
    if code is ExitCode.OK and failed:
        code = ExitCode.FAILED
    if code is not ExitCode.OK:
        raise typer.Exit(int(code))


@app.command(name="status")
def show_status(
    inventory_names: Inventories,
    limit: Limit = None,
    output: OutputOption = Output.TEXT,
    peers: Annotated[
        bool, typer.Option("--peers", help="A line for each peer of each relay instead.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--watch", help="Look again and again, and show rates, until Ctrl-C."),
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=1, help="With --watch: seconds between two looks.")
    ] = 2,
) -> None:
    """Show the state of the relays, read from their /proc/net/ktcp in one run.

    A line for each relay: module version, listeners, peers, connections to peers that are
    ready and connecting, splits now, splits opened and failed since the module was loaded,
    legs that the pool had ready and splits whose far leg began at the SYN (both in percent),
    bytes towards the targets and back. Exit code 1 if a relay has no module, 4 if one is
    unreachable.

    With --watch there is one table that stays: splits opened and failed and bytes in a second,
    and shares of the time since the last look. A narrow terminal shows the first columns. Ctrl-C
    ends it, with exit code 130.
    """
    if again and (peers or output is Output.JSON):
        raise UsageError("--watch shows one table for eyes: leave out --peers and -o json")
    mesh = load(inventory_names, output)
    if again:
        watch(make_engine(), mesh, inventory_names, limit=limit, interval=interval)
    result, relays = status.fetch(
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventory_names,
        limit=limit,
    )
    if output is Output.JSON:
        data = {relay.relay: status.to_data(relay) for relay in relays}
        console.print_json({"exit_code": int(result.exit_code), "relays": data})
    elif peers:
        rows = [row for relay in relays for row in status.peer_rows(relay)]
        console.print_table(status.PEER_COLUMNS, rows)
    elif relays:
        console.print_table(status.COLUMNS, [status.row(relay) for relay in relays])
    end_with(result, failed=any(relay.state is None for relay in relays))


@app.command(name="verify")
def verify_paths(inventory_names: Inventories, output: OutputOption = Output.TEXT) -> None:
    """Check every host, then download through each path and say which hop fails.

    Runs playbooks/verify.yml, then fetches the probe of each path that has one:
    `probe: {from: HOST, url: "http://ADDRESS/FILE"}`, downloaded by that host of the
    inventory. A path is fine when the download is complete and every relay of the path split
    it; else the first hop that explains it is named: the ingress, a relay, the exit or the
    target. Exit code 1 if a host or a path fails, 4 if a host is unreachable.
    """
    mesh = load(inventory_names, output)
    engine, reporter = make_engine(), console.Progress()
    checked = rollout.run(
        "verify", engine=engine, reporter=reporter, mesh=mesh, inventories=inventory_names
    )
    if checked.canceled:
        end_with(checked)
    fetched, verdicts = verify.fetch(
        engine=engine, reporter=reporter, mesh=mesh, inventories=inventory_names
    )
    failed = any(not verdict.ok for verdict in verdicts)
    if output is Output.JSON:
        codes = [int(checked.exit_code), int(fetched.exit_code), int(failed)]
        console.print_json(
            {
                "exit_code": max(codes),
                "checks": checked.to_data(),
                "downloads": fetched.to_data(),
                "paths": {verdict.path: verify.to_data(verdict) for verdict in verdicts},
            }
        )
    else:
        print_result(checked)
        console.print_table(verify.COLUMNS, [verify.row(verdict) for verdict in verdicts])
    end_with(fetched, failed=failed)
    end_with(checked)
