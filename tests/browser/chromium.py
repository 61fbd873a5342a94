# SPDX-License-Identifier: GPL-2.0-only
"""A headless Chromium, installed from Debian if missing, and controlled through a pipe."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
APT = ("apt-get", "-q", "-oDPkg::Lock::Timeout=600")
# The browser reads commands from the first and writes what happens to the second.
PIPES = 'exec "$@" 3<&{commands} 4>&{events}'
PATIENCE_S = 30.0

Message = dict[str, Any]


class BrowserError(Exception):
    """There is no browser, or it does not obey."""


def ensure() -> str:
    """Find a Chromium; if there is none, root gets one from Debian.

    Raises:
        BrowserError: There is none and none can be had; the message says what to do.
    """
    program = find()
    if program is None and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # A third-party package source that is down must not stop us: the installation decides.
        subprocess.run([*APT, "update"], check=False, env=environment)
        install = [*APT, "-y", "install", "--no-install-recommends", *PACKAGES]
        subprocess.run(install, check=False, env=environment)
        program = find()
    if program is None:
        raise BrowserError(
            f"no Chromium to look at pages with: as root, apt-get install {' '.join(PACKAGES)}"
        )
    return program


def find() -> str | None:
    """Give the path of a Chromium that is installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Browser:
    """The end of the pipe that sends commands and receives events."""

    commands: int
    events: int
    session: str = ""
    number: int = 0
    pending: bytes = b""
    heard: list[Message] = field(default_factory=list)
    """Everything that was no answer, since the page was opened."""

    def call(self, method: str, **parameters: object) -> Message:
        """Give a command and wait for its result.

        Raises:
            BrowserError: The browser refuses, or says nothing.
        """
        self.number += 1
        message: Message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        try:
            os.write(self.commands, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise BrowserError("the browser has ended") from error
        answer = self.wait_for("id", self.number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: Message = answer["result"]
        return result

    def wait_for(self, key: str, value: object) -> Message:
        """Take messages until one has the value; the others are kept."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            message = self.read(deadline)
            if message.get(key) == value:
                return message
            self.heard.append(message)

    def read(self, deadline: float) -> Message:
        """Take the next message."""
        with DefaultSelector() as ready:
            ready.register(self.events, EVENT_READ)
            while b"\0" not in self.pending:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise BrowserError(f"the browser has said nothing for {PATIENCE_S:.0f} s")
                data = os.read(self.events, 65536)
                if not data:
                    raise BrowserError("the browser has ended")
                self.pending += data
        line, _, self.pending = self.pending.partition(b"\0")
        message: Message = json.loads(line)
        return message

    def open(self, page: Path) -> None:
        """Show a page of the disk, in a tab of its own, and wait until it is complete."""
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.heard.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("method", "Page.loadEventFired")

    def look(self, *, width: int, scheme: str) -> None:
        """Set the width of the screen, and the colour scheme, ``light`` or ``dark``."""
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page's script gives
        """Give the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"in the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self) -> str:
        """Give a picture of the whole page: PNG in base64."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        picture: str = answer["data"]
        return picture


@contextmanager
def running(program: str, profile: Path) -> Iterator[Browser]:
    """A browser that ends with the context; its output is in the log beside its profile."""
    commands, our_commands = os.pipe()
    our_events, events = os.pipe()
    # The pages are ours, and a root has no sandbox.
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
    pipes = PIPES.format(commands=commands, events=events)
    with profile.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", pipes, "bash", program, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(commands, events),
        )
    os.close(commands)
    os.close(events)
    try:
        yield Browser(our_commands, our_events)
    finally:
        process.kill()
        process.wait()
        os.close(our_commands)
        os.close(our_events)
