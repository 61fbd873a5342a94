# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with the relays' hosts: examined in one run, judged by checks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.diagnosis import host_checks, network_checks
from ktcp_ops.mesh.diagnosis.facts import Facts
from ktcp_ops.mesh.diagnosis.finding import Finding, Patient, Severity
from ktcp_ops.mesh.inventory.selection import about
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import READ_TASK, RelayStatus, statuses, variables
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult

EXAMINE_TASK = "Examine the host"
CLOUD_TASK = "Look up the cloud's check of source and destination"

CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    host_checks.kernels,
    host_checks.module,
    host_checks.secure_boot,
    host_checks.services,
    host_checks.drift,
    host_checks.forwarding,
    host_checks.fast_open,
    host_checks.syn_cookies,
    host_checks.return_route,
    host_checks.conntrack,
    host_checks.clock,
    network_checks.router_advertisements,
    network_checks.peers,
    network_checks.ways_to_targets,
    network_checks.cloud,
)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A relay's findings, the worst first, or why there are none."""

    relay: str
    findings: tuple[Finding, ...] = ()
    reason: str = ""


def examine(
    *, engine: Engine, reporter: Reporter, mesh: Mesh, inventories: Sequence[str], limit: str | None
) -> tuple[RunResult, tuple[Diagnosis, ...]]:
    """Examine every relay, or those within ``limit``."""
    job = Job(
        title="doctor",
        playbook=playbook("doctor.yml"),
        inventories=resolve(inventories),
        limit=limit,
        variables={**variables(mesh), "ktcp_targets": targets(mesh)},
        keep=frozenset({f"{READ_TASK} now", EXAMINE_TASK, CLOUD_TASK}),
    )
    begun = time.time()
    result = engine.run(about(mesh, job), reporter)
    asked = begun, time.time()
    nodes, hosts = plan(mesh), {host.host: host for host in result.hosts}
    return result, tuple(
        diagnose(mesh, nodes[status.relay], status, hosts[status.relay], result, asked)
        for status in statuses(mesh, result, "now")
    )


def targets(mesh: Mesh) -> dict[str, list[str]]:
    """Give the addresses that each relay must have a route to: one for each of its prefixes."""
    wanted: dict[str, dict[str, None]] = {}
    for path in mesh.paths:
        for network in path.targets:
            # No host has the network's own address; the next one may be a host's.
            address = network.network_address + (1 if network.num_addresses > 2 else 0)
            wanted.setdefault(path.exit, {})[str(address)] = None
            if network in path.destinations:
                wanted.setdefault(path.ingress, {})[str(address)] = None
    return {relay: list(addresses) for relay, addresses in sorted(wanted.items())}


def diagnose(
    mesh: Mesh,
    node: Node,
    status: RelayStatus,
    host: HostResult,
    result: RunResult,
    asked: tuple[float, float],
) -> Diagnosis:
    """Judge one relay."""
    said = result.outputs.get(EXAMINE_TASK, {}).get(status.relay, {}).get("stdout")
    if host.state is HostState.UNREACHABLE or not said:
        return Diagnosis(relay=status.relay, reason=host.message or "it could not be examined")
    try:
        facts = Facts.model_validate_json(str(said))
    except ValidationError as error:
        return Diagnosis(relay=status.relay, reason=f"its answer is not understood: {error}")
    cloud = result.outputs.get(CLOUD_TASK, {}).get(status.relay, {}).get("msg")
    patient = Patient(
        mesh=mesh,
        node=node,
        facts=facts,
        status=status,
        asked=asked,
        forwards=may_forward(facts.cloud, cloud if isinstance(cloud, Mapping) else {}),
    )
    found = [finding for check in CHECKS for finding in check(patient)]
    order = list(Severity)
    found.sort(key=lambda finding: order.index(finding.severity))
    return Diagnosis(relay=status.relay, findings=tuple(found))


def may_forward(cloud: str | None, said: Mapping[str, Any]) -> bool | None:
    """Read from a cloud's inventory whether a host may forward packets."""
    value = said.get(cloud or "")
    if not isinstance(value, bool):
        return None
    return not value if cloud == "aws" else value


def exit_code(result: RunResult, diagnoses: Sequence[Diagnosis]) -> ExitCode:
    """Give the exit code: of the run if it went wrong, else by the worst finding."""
    found = {finding.severity for diagnosis in diagnoses for finding in diagnosis.findings}
    if result.exit_code is not ExitCode.OK:
        return result.exit_code
    if Severity.ERROR in found or any(diagnosis.reason for diagnosis in diagnoses):
        return ExitCode.FAILED
    return ExitCode.DRIFT if Severity.DRIFT in found else ExitCode.OK


def to_data(diagnosis: Diagnosis) -> dict[str, Any]:
    """Give a relay's findings as JSON data."""
    return {
        "reason": diagnosis.reason or None,
        "findings": [asdict(finding) for finding in diagnosis.findings],
    }
