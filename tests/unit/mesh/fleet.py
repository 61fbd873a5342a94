# SPDX-License-Identifier: GPL-2.0-only
"""Relays in memory with an engine that changes, asks and undoes them as a test wants."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ktcp_ops.mesh.observation.status import READ_TASK
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult

OUTCOMES = {
    "ok": HostState.CHANGED,
    "failed": HostState.FAILED,
    "unreachable": HostState.UNREACHABLE,
}


@dataclass
class Fleet:
    """An engine whose jobs succeed, except where ``fates`` has an outcome for playbook and host.

    ``before`` runs before each job; if it returns a result, the job is not run.
    """

    fates: dict[tuple[str, str], str] = field(default_factory=dict)
    before: Callable[[Job], RunResult | None] = lambda _job: None
    jobs: list[Job] = field(default_factory=list)

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        """Run a job over the hosts of its limit."""
        self.jobs.append(job)
        answer = self.before(job)
        if answer is not None:
            return answer
        reporter.started(title=job.title, tasks=None)
        reporter.finished()
        hosts = (job.limit or "").split(",")
        found = tuple(self.host(job.playbook.stem, host) for host in hosts)
        asked = {host: {"stdout": "/proc/net/ktcp/version:module 0.1.0\n"} for host in hosts}
        return RunResult(hosts=found, complete=True, outputs={f"{READ_TASK} now": asked})

    def host(self, playbook: str, host: str) -> HostResult:
        """Give one host's outcome of a playbook."""
        fate = self.fates.get((playbook, host), "ok")
        bad = fate != "ok"
        return HostResult(
            host=host,
            state=OUTCOMES[fate],
            ok=1,
            changed=int(not bad),
            failed_task="Build" if bad else None,
            message=f"{playbook} of {host}" if bad else None,
        )

    @property
    def played(self) -> list[tuple[str, str]]:
        """The playbooks that were run, with their hosts."""
        return [(job.playbook.stem, job.limit or "") for job in self.jobs]
