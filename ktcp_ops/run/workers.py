# SPDX-License-Identifier: GPL-2.0-only
"""The engine that has other hosts run parts of a job, if one control node is too slow.

Each worker gets its share of the hosts through the standard input of one command, mostly
ssh, and answers with its events on that command's standard output, as ansible-runner's
``worker`` does. Its share is sent in no other way: not on a command line, and not on a disk.
"""

import math
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import ansible_runner

from ktcp_ops.errors import KtcpError
from ktcp_ops.run import parcel
from ktcp_ops.run.engine import interrupts_set
from ktcp_ops.run.events import ResultBuilder
from ktcp_ops.run.hosts import tasks_of
from ktcp_ops.run.inventory import listing, portion
from ktcp_ops.run.job import Job
from ktcp_ops.run.options import Options
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult
from ktcp_ops.run.transcript import NoTranscript, Transcript, pass_on

SSH = (
    "ssh",
    "-T",
    "-oBatchMode=yes",
    "-oConnectTimeout=20",
    # A worker that vanished is noticed within a minute.
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=4",
)
GRACE_S = 10.0
BROKEN = (OSError, ValueError, TypeError, KeyError, AttributeError)
"""What ansible-runner raises when a worker's stream breaks off or makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A host that runs a part of a job: its name for people, and the command that reaches it."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def by_ssh(cls, login: str, command: str) -> "Worker":
        """Make the worker that ssh reaches at ``login`` and that a shell command starts there."""
        # Its files are in memory too; a worker without such a directory uses its /tmp.
        return cls(name=login, command=(*SSH, login, f"TMPDIR={parcel.MEMORY} {command}"))


@dataclass
class Share:
    """A worker's part of a job while it runs."""

    worker: Worker
    hosts: tuple[str, ...]
    process: subprocess.Popen[bytes]
    complaints: IO[bytes]
    builder: ResultBuilder
    status: str = "unstarted"
    explanation: str = ""
    ended: bool = False

    @property
    def answers(self) -> IO[bytes]:
        """The stream that it sends."""
        if self.process.stdout is None:  # start() asks for a pipe
            raise AssertionError
        return self.process.stdout

    def last_words(self) -> str:
        """Say why the worker is lost, as far as that is known."""
        self.complaints.seek(0)
        lines = self.complaints.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else self.explanation or "it ended without a message"


@dataclass
class SharedReporter:
    """One reporter for several workers: a task is reported when the first worker begins it."""

    reporter: Reporter
    number: int = field(default=0, init=False)

    def started(self, *, title: str, tasks: int | None) -> None:
        """The run begins."""
        self.reporter.started(title=title, tasks=tasks)

    def task(self, *, number: int, name: str) -> None:
        """A worker begins a task."""
        if number > self.number:
            self.number = number
            self.reporter.task(number=number, name=name)

    def host(self, *, host: str, outcome: str, message: str) -> None:
        """A host has finished a task."""
        self.reporter.host(host=host, outcome=outcome, message=message)

    def finished(self) -> None:
        """The run is over."""
        self.reporter.finished()


Item = tuple[Share, dict[str, Any] | None]
"""A worker's event, or None after its last one."""


class WorkersEngine:
    """Splits a job's hosts among workers, in the order of their names, and runs all at once."""

    def __init__(
        self,
        workers: Sequence[Worker],
        options: Options | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        self.workers = tuple(workers)
        self.options = options or Options()
        self.transcript = transcript or NoTranscript()

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        """Run a job; Ctrl-C and SIGTERM end the commands that reach the workers.

        The hosts of a worker that cannot be reached, or that is lost before its end, count as
        unreachable. A worker that loses the connection to us ends Ansible at its next event.
        """
        wanted = threading.Event()
        furthest = SharedReporter(reporter)
        reporter.started(title=job.title, tasks=tasks_of(job.playbook))
        try:
            with parcel.memory_directory() as directory, interrupts_set(wanted):
                parcels = self.prepare(job, directory)
                with running(parcels, furthest, job) as shares:
                    follow(shares, wanted, directory, self.transcript)
                    return merged(shares, canceled=wanted.is_set())
        except KtcpError as error:
            return RunResult(hosts=(), complete=False, complaint=error.message)
        finally:
            reporter.finished()

    def prepare(self, job: Job, directory: Path) -> list[tuple[Worker, tuple[str, ...], Path]]:
        """Pack each worker's share of the hosts; workers that get no host are left out."""
        known = listing(job.inventories)
        everything = portion(known, known["_meta"]["hostvars"].keys() | hosts_in(known))
        hosts = parcel.hosts_of(job, everything, directory)
        private = directory / "private"
        playbook = parcel.lay_out(job, private)
        shares = split(hosts, self.workers[:1] if job.together else self.workers)
        return [
            (worker, own, self.pack(job, private, playbook, portion(known, own)))
            for worker, own in shares
        ]

    def pack(self, job: Job, private: Path, playbook: str, inventory: dict[str, Any]) -> Path:
        """Write what one worker gets."""
        return parcel.pack(job, private, playbook, inventory, self.options)


def hosts_in(listing: dict[str, Any]) -> set[str]:
    """List all hosts of the inventory, also those without any variable."""
    return {
        host
        for name, group in listing.items()
        if name != "_meta"
        for host in group.get("hosts", ())
    }


def split(hosts: Sequence[str], workers: Sequence[Worker]) -> list[tuple[Worker, tuple[str, ...]]]:
    """Divide hosts among workers; the same hosts and workers always give the same shares."""
    ordered = sorted(hosts)
    shares = [(worker, tuple(ordered[n :: len(workers)])) for n, worker in enumerate(workers)]
    return [(worker, own) for worker, own in shares if own]


@contextmanager
def running(
    parcels: Sequence[tuple[Worker, tuple[str, ...], Path]], reporter: Reporter, job: Job
) -> Iterator[list[Share]]:
    """Start the workers; whatever happens, none of their commands is left behind.

    Raises:
        KtcpError: when a command cannot be started at all.
    """
    shares: list[Share] = []
    with ExitStack() as stack:
        for worker, hosts, stream in parcels:
            complaints = stack.enter_context(tempfile.TemporaryFile())
            source = stack.enter_context(stream.open("rb"))
            process = start(worker, source, complaints)
            share = Share(
                worker, hosts, process, complaints, ResultBuilder(reporter, job.keep, hosts)
            )
            stack.callback(end, share)
            shares.append(share)
        yield shares


def start(worker: Worker, source: IO[bytes], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker's command."""
    try:
        return subprocess.Popen(
            worker.command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=complaints,
            # Ctrl-C must reach only us; we end the workers in order.
            start_new_session=True,
        )
    except OSError as error:
        raise KtcpError(f"worker {worker.name}: {error}") from error


def follow(
    shares: Sequence[Share], wanted: threading.Event, directory: Path, transcript: Transcript
) -> None:
    """Feed each worker's events to its builder, in this thread, until all workers have ended."""
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for number, share in enumerate(shares):
        place = directory / f"answers-{number}"
        place.mkdir()
        threading.Thread(target=listen, args=(share, items, place), daemon=True).start()
    deadline = math.inf
    while not all(share.ended for share in shares) and time.monotonic() < deadline:
        if wanted.is_set() and deadline == math.inf:
            for share in shares:
                share.process.terminate()
            deadline = time.monotonic() + GRACE_S
        try:
            share, event = items.get(timeout=0.5)
        except queue.Empty:
            continue
        if event is not None:
            pass_on(event, transcript)
            share.builder.feed(event)
            continue
        share.ended = True
        if not wanted.is_set():
            settle(share)


def listen(share: Share, items: "queue.SimpleQueue[Item]", directory: Path) -> None:
    """Read a worker's stream to its end, or to where it breaks."""

    def take(event: dict[str, Any]) -> bool:
        items.put((share, event))
        return False  # no copy of the event on disk

    def note(status: dict[str, Any], **_config: object) -> None:
        share.status = str(status["status"])
        share.explanation = str(status.get("job_explanation", ""))

    try:
        with share.answers as answers:
            ansible_runner.run(
                streamer="process",
                _input=answers,
                private_data_dir=str(directory),
                quiet=True,
                event_handler=take,
                status_handler=note,
                cancel_callback=bool,
            )
    except BROKEN as error:
        share.status, share.explanation = "error", f"its stream cannot be read: {error}"
    finally:
        items.put((share, None))


def end(share: Share) -> None:
    """End a worker's command: wait for one that sent all its events, terminate others, then kill.

    A worker that sent all its events still has to remove its files.
    """
    if not share.ended:
        share.process.terminate()
    try:
        share.process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        share.process.kill()
        share.process.wait()


def settle(share: Share) -> None:
    """Count the hosts of a lost worker as unreachable, except those that had failed before."""
    if share.builder.complete or share.status != "error":
        return
    end(share)  # only then its error output is complete
    message = f"worker {share.worker.name} is lost: {share.last_words()}"
    data = {"task": "Run on a worker", "res": {"msg": message}}
    for host in share.hosts:
        if not share.builder.host({"host": host}).failed:
            event = {"event": "runner_on_unreachable", "event_data": {**data, "host": host}}
            share.builder.feed(event)
    share.builder.complete = True


def merged(shares: Sequence[Share], *, canceled: bool) -> RunResult:
    """Make one result of all shares."""
    parts = [share.builder.result(canceled=canceled) for share in shares]
    outputs: dict[str, dict[str, Any]] = {}
    for result in parts:
        for task, hosts in result.outputs.items():
            outputs.setdefault(task, {}).update(hosts)
    return RunResult(
        hosts=tuple(sorted((h for p in parts for h in p.hosts), key=lambda host: host.host)),
        complete=all(result.complete for result in parts),
        canceled=canceled,
        complaint="\n".join(result.complaint for result in parts if result.complaint),
        outputs=outputs,
    )
