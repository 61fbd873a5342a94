# SPDX-License-Identifier: GPL-2.0-only
"""``python3 -m ktcp_testbed.bench.guest.holder ADDRESS PORT COUNT [PATH]``: holds connections open.

Says ``loaded``, waits for a line, opens the connections (and asks each for PATH, without
reading the answer), says ``open``, and waits for the end of its input.
"""

import socket
import sys

SMALL_BUFFER = 65_536


def hold(address: str, port: int, count: int, path: str | None) -> list[socket.socket]:
    """Open the connections."""
    held = []
    for _ in range(count):
        connection = socket.create_connection((address, port), timeout=60)
        held.append(connection)
        if path:
            # The memory of the relays is to be measured, not that of this end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return held


def say(word: str) -> None:
    """Tell the process that started us."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main() -> None:
    """Hold connections until the input ends."""
    address, port, count, *path = sys.argv[1:]
    say("loaded")
    sys.stdin.readline()
    held = hold(address, int(port), int(count), path[0] if path else None)
    say("open")
    sys.stdin.read()
    del held


if __name__ == "__main__":
    main()
