# SPDX-License-Identifier: GPL-2.0-only
"""What the guest tells the host, over the second serial port: a JSON object on each line."""

import json
import os
import termios
import tty
from pathlib import Path

DEVICE = Path("/dev/ttyS1")


class Channel:
    """The way out of the guest."""

    def __init__(self, device: Path = DEVICE) -> None:
        self.descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.descriptor)

    def tell(self, event: str, **facts: object) -> None:
        """Send one event, and wait until it is sent: nothing may be sent while we measure."""
        line = json.dumps({"event": event, **facts}, separators=(",", ":")) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(self.descriptor, data) :]
        termios.tcdrain(self.descriptor)
