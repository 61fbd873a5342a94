# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh``: the commands about a mesh of relays."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli.ansible import load, with_options
from ktcp_ops.cli.answer import Output, OutputOption, WideOutput, WideOutputOption, give
from ktcp_ops.cli.watch import watch
from ktcp_ops.cli.workers import choose, make_engine
from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh import change, gains, relay_check, rollout, schema, status, verify
from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.plan import plan
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


def with_ansible(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the command of a name, with the options of all that run Ansible."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name=name)(with_options(name, function))
        return function

    return register


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


@with_ansible("validate")
def validate(inventory_names: Inventories, output: OutputOption = Output.TEXT) -> None:
    """Check a mesh without touching any host.

    Every error is reported at once, a line each: the file, the key in it, what is wrong and
    how to put it right. Exit code 3 if there is any.
    """
    mesh = load(inventory_names)
    counts = {"relays": len(mesh.relays), "pairs": pair_count(mesh), "paths": len(mesh.paths)}
    notes = list(relay_check.open_services(mesh))
    said = ", ".join(
        f"{number} {word.removesuffix('s') if number == 1 else word}"
        for word, number in counts.items()
    )
    lines = [
        *(f"note: {note}" for note in notes),
        f"{', '.join(inventory_names)}: the mesh is valid: {said}",
    ]
    data = {"valid": True, "problems": [], "notes": notes, **counts}
    give(output, ExitCode.OK, data, partial(console.print_line, "\n".join(lines)))


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


@with_ansible("plan")
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
    `mesh probe` has measured, a table of the paths says how long their legs are, and by the
    model the time to the first byte in ms and the Mbit/s of a megabyte, routed and split.

    With --live the relays are asked, and only what a rollout would change is shown: the lines
    that /proc/net/ktcp would gain (+) and lose (-), the module's version, the tasks that would
    change something, and what becomes of live splits. Nothing is changed. Exit code 4 if a
    relay is unreachable, 1 if the dry run failed on one.
    """
    if drift and not live:
        raise UsageError("--drift needs --live, which asks the relays")
    mesh = load(inventory_names)
    nodes = plan(mesh)
    strangers = sorted(set(relays or ()) - set(nodes))
    if strangers:
        raise UsageError(f"{', '.join(strangers)}: not in the mesh; `mesh plan` lists its relays")
    within = rollout.hosts_of("rollout", mesh, inventory_names, limit) if limit else nodes
    wanted = [name for name in nodes if (not relays or name in relays) and name in within]
    gained = [gain for gain in gains.predict(mesh) if gain.relays[0] in wanted]
    if not live:
        shown = {name: without_keys(nodes[name]) for name in wanted}
        data = {"relays": shown, "paths": gains.to_data(gained)}
        give(output, ExitCode.OK, data, partial(print_plan, shown, gained))
        return
    found = change.ask(
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventory_names,
        relays=wanted,
    )
    code = found.exit_code
    if code is ExitCode.OK and drift and change.any_drifted(found.relays):
        code = ExitCode.DRIFT
    relays_data = {relay.relay: change.to_data(relay) for relay in found.relays}
    data = {"relays": relays_data, "paths": gains.to_data(gained)}
    show = partial(print_survey, found.relays, gained)
    give(output, code, data, show, remarks=found.remarks)


def print_plan(nodes: Mapping[str, dict[str, Any]], gained: list[gains.Gain]) -> None:
    """Print what relays have to hold, and what paths gain."""
    for name, node in nodes.items():
        print_node(name, node)
    print_gains(gained)


def print_survey(relays: Sequence[change.RelayChanges], gained: list[gains.Gain]) -> None:
    """Print what would change on relays."""
    print_gains(gained)
    for relay in relays:
        for line in change.text(relay):
            console.print_line(line)


def print_gains(gained: list[gains.Gain]) -> None:
    """Print what paths gain, a line each, once anything has been measured."""
    if any(gain.split for gain in gained):
        console.print_table(gains.COLUMNS, [gains.row(gain) for gain in gained])


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


@with_ansible("remove")
def remove(
    inventory_names: Inventories,
    limit: Limit = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="NAME", help="Only this host, also one that left the inventory."
        ),
    ] = None,
    check: Check = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take KTCP off the hosts: steering first, then the module, then every file.

    Runs playbooks/teardown.yml. Traffic goes on by plain routing; open splits are reset. It
    asks first, unless --yes or --check is given; where there is no terminal to ask on, it is
    refused without one of them (exit code 2).

    --host is for a relay that has left the inventory: it is reached by the name or address that
    you give, with the variables of group_vars/all, and no other host is touched. Where more is
    needed to reach it, give the inventory that still had it by -i, or variables by -e. Roll the
    mesh out first, so that no other relay sends it anything.
    """
    if host is not None and limit is not None:
        raise UsageError("--host is one host and --limit chooses some; leave one of them out")
    if host is not None and not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise UsageError(f"--host {host}: is not the name or the address of one host")
    if not (yes or check):
        confirm_removal(load(inventory_names), limit, host)
    if host is None:
        run_action("remove", inventory_names, limit=limit, check=check, output=output)
        return
    result = rollout.remove_host(
        host,
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=load(inventory_names),
        inventories=inventory_names,
        check=check,
    )
    report_action("remove", result, check=check, output=output)


def confirm_removal(mesh: Mesh, limit: str | None, host: str | None = None) -> None:
    """Ask whether KTCP is to be removed.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    whom = f"the hosts of --limit {limit}" if limit else f"all {len(mesh.relays)} relays"
    whom = host or whom
    question = f"Remove KTCP from {whom}, which resets the splits that live there?"
    if not console.confirm(question):
        raise UsageError("nothing was removed; --yes removes without a question")


@with_ansible("drain")
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


@with_ansible("undrain")
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
        mesh=load(inventory_names),
        inventories=inventory_names,
        limit=limit,
        check=check,
        options=options,
    )
    report_action(action, result, check=check, output=output)


def report_action(action: str, result: RunResult, *, check: bool, output: Output) -> None:
    """Print what came of an action, and end with its exit code."""
    data = {"command": action, "check": check, **result.to_data()}
    show = partial(print_run, result, check=check)
    give(output, result.exit_code, data, show, remarks=result.remarks)


def print_run(result: RunResult, *, check: bool = False) -> None:
    """Print a run's hosts, and after a dry run what it would change."""
    print_result(result)
    if check:
        print_changes(result)


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
                    first_line(host.message or "-"),
                )
                for host in result.hosts
            ],
        )


def first_line(text: str) -> str:
    """Take the first line of a message, so that a line stays a host; the rest is told below."""
    head, *rest = text.strip().splitlines() or [""]
    return f"{head} (and {len(rest)} lines, see below)" if rest else head


@with_ansible("status")
def show_status(
    inventory_names: Inventories,
    limit: Limit = None,
    output: WideOutputOption = WideOutput.TEXT,
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

    A line for each relay, a verdict first: ok, degraded (a peer is not up), draining, no module,
    or unknown (it could not be asked). Then the module's version, peers that are up, splits now,
    splits opened and failed since the module was loaded, bytes towards the targets and back.
    Exit code 1 if a relay has no module, 4 if one is unreachable. A peer that a relay still has
    and that is no relay of the inventory is named.

    With -o wide: listeners, connections to peers that are ready and connecting, legs that the
    pool had ready and splits whose far leg began at the SYN (both in percent), and whole bytes.

    With --watch there is one table that stays: splits opened and failed and bytes in a second,
    and shares of the time since the last look. A narrow terminal shows the first columns. Ctrl-C
    ends it, with exit code 130.
    """
    if again and (peers or output is not WideOutput.TEXT):
        raise UsageError("--watch shows one table for eyes: leave out --peers and -o")
    mesh = load(inventory_names)
    if again:
        watch(make_engine(), mesh, inventory_names, limit=limit, interval=interval)
    result, relays = status.fetch(
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventory_names,
        limit=limit,
    )
    data = {"relays": {relay.relay: status.to_data(relay) for relay in relays}}
    show = partial(print_status, relays, peers=peers, wide=output is WideOutput.WIDE)
    give(output.plain, status.exit_code(result, relays), data, show, remarks=result.remarks)


def print_status(relays: Sequence[status.RelayStatus], *, peers: bool, wide: bool) -> None:
    """Print what relays say of themselves, or of their peers."""
    if peers:
        rows = [row for relay in relays for row in status.peer_rows(relay)]
        console.print_table(status.PEER_COLUMNS, rows)
    elif relays and wide:
        console.print_table(status.WIDE_COLUMNS, [status.wide_row(relay) for relay in relays])
    elif relays:
        console.print_table(status.COLUMNS, [status.row(relay) for relay in relays])


@with_ansible("verify")
def verify_paths(
    inventory_names: Inventories, limit: Limit = None, output: OutputOption = Output.TEXT
) -> None:
    """Check every host, then download through each path and say which hop fails.

    Runs playbooks/verify.yml, then fetches the probe of each path that has one:
    `probe: {from: HOST, url: "http://ADDRESS/FILE"}`, downloaded by that host of the
    inventory. A path is fine when the download is complete and every relay of the path split
    it; else the first hop that explains it is named: the ingress, a relay, the exit or the
    target. Exit code 1 if a host or a path fails, 4 if a host is unreachable.

    With --limit these relays are checked, and the paths that begin at them.
    """
    found = verify.check(
        engine=make_engine(),
        reporter=console.Progress(),
        mesh=load(inventory_names),
        inventories=inventory_names,
        limit=limit,
    )
    show = partial(print_verification, found)
    give(output, found.exit_code, found.to_data(), show, remarks=found.remarks)


def print_verification(found: verify.Verification) -> None:
    """Print hosts and paths."""
    print_result(found.checks)
    if found.downloads:
        console.print_table(verify.COLUMNS, [verify.row(verdict) for verdict in found.verdicts])
