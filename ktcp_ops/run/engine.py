# SPDX-License-Identifier: GPL-2.0-only
"""Running a playbook: the ``Engine`` interface, and the one that runs it on this host."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ansible_runner

from ktcp_ops.run.environment import ansible_environment, as_the_user_has_it, callbacks
from ktcp_ops.run.events import ResultBuilder
from ktcp_ops.run.hosts import tasks_of
from ktcp_ops.run.job import Job
from ktcp_ops.run.options import Options
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult
from ktcp_ops.run.transcript import NoTranscript, Transcript, pass_on
from ktcp_ops.signals import handled

ANSWERS = {r"Are you sure you want to continue connecting.*\?\s*$": "no"}
"""Pattern -> answer for paramiko's connections, which ask about unknown host keys."""


class Engine(Protocol):
    """What runs a job: this host, or other hosts in its place."""

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        """Run a job to its end, or until the user interrupts it."""


class LocalEngine:
    """Runs jobs with ansible-runner on this host."""

    def __init__(
        self, options: Options | None = None, transcript: Transcript | None = None
    ) -> None:
        self.options = options or Options()
        self.transcript = transcript or NoTranscript()

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        """Run a job; Ctrl-C and SIGTERM end it within a second and give a canceled result."""
        builder = ResultBuilder(reporter, job.keep, job.hosts)
        stop = Stop()

        def take(event: dict[str, Any]) -> bool:
            if event.get("event") == "playbook_on_start":
                stop.process = event.get("pid")
            pass_on(event, self.transcript)
            builder.feed(event)
            return False  # no copy of the event on disk

        reporter.started(title=job.title, tasks=tasks_of(job.playbook))
        try:
            with private_directory() as directory, interrupts_set(stop.wanted):
                runner = ansible_runner.interface.init_runner(
                    private_data_dir=str(directory),
                    # Ansible finds the user's ansible.cfg in its working directory.
                    project_dir=str(Path.cwd()),
                    playbook=str(job.playbook),
                    inventory=list(job.inventories),
                    limit=job.limit,
                    cmdline=self.options.command_line(check=job.check),
                    extravars=dict(job.variables),
                    envvars={**ansible_environment(), **callbacks()},
                    # A question that nobody sees must not stop the run.
                    passwords=ANSWERS,
                    settings={"pexpect_timeout": 1, "suppress_ansible_output": True},
                    suppress_env_files=True,
                    quiet=True,
                    event_handler=take,
                    # With a callback, the runner leaves the process's signal handlers alone.
                    cancel_callback=stop.must_kill,
                )
                runner.config.env = as_the_user_has_it(runner.config.env)
                runner.run()
        finally:
            reporter.finished()
        return builder.result(canceled=stop.wanted.is_set())


class Stop:
    """Ends Ansible on request: first by SIGTERM, so that it ends its workers, then by force.

    Its workers are in process groups of their own, and would outlive a killed Ansible.
    """

    GRACE_S = 10.0

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.process: int | None = None
        self.deadline: float | None = None

    def must_kill(self) -> bool:
        """Tell whether the time for Ansible to end by itself is over; called once a second."""
        if not self.wanted.is_set():
            return False
        if self.deadline is None:
            self.deadline = time.monotonic() + (self.GRACE_S if self.ask() else 0)
        return time.monotonic() >= self.deadline

    def ask(self) -> bool:
        """Ask Ansible to end; False if it does not run."""
        if self.process is None:  # it has not begun, and has no workers
            return False
        try:
            os.kill(self.process, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def private_directory() -> Iterator[Path]:
    """Give a fresh directory that only we can read: the runner keeps the environment there."""
    with tempfile.TemporaryDirectory(prefix="ktcp-run-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def interrupts_set(flag: threading.Event) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a flag while a run lasts; only the main thread can."""
    with handled((signal.SIGINT, signal.SIGTERM), lambda _number, _frame: flag.set()):
        yield
