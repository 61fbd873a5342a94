# SPDX-License-Identifier: GPL-2.0-only
"""The web server and the files that it serves."""

import hashlib
import os
import time
from pathlib import Path

from ktcp_testbed.bench.guest.namespace import CommandError, Namespace

WWW = Path("/run/www")
CONFIGURATION = Path("/run/server-nginx.conf")
PORT = 80
# Blocks of it repeat in large files: making random bytes takes long in a slow guest.
BLOCK_BYTES = 1_048_576
# As long for the same reason as PATIENCE_S.
START_S = 3600.0

# As in the paper, each download has a new connection: keep-alive is off.
TEXT = f"""
worker_processes 1;
pid /run/server-nginx.pid;
error_log /run/server-nginx.err;
events {{ worker_connections 60000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 0;
    client_header_timeout 1h;
    send_timeout 1h;
    server {{
        listen {PORT} backlog=4096;
        listen [::]:{PORT} backlog=4096;
        root {WWW};
    }}
}}
"""


def make_files(sizes: dict[str, int]) -> dict[str, str]:
    """Write the files; return the SHA-256 of each."""
    WWW.mkdir(exist_ok=True)
    block = os.urandom(BLOCK_BYTES)
    sums = {}
    for name, size in sizes.items():
        digest = hashlib.sha256()
        with (WWW / name).open("wb") as file:
            for start in range(0, size, BLOCK_BYTES):
                piece = block[: min(BLOCK_BYTES, size - start)]
                file.write(piece)
                digest.update(piece)
        sums[name] = digest.hexdigest()
    return sums


def serve(host: Namespace) -> None:
    """Start the web server."""
    CONFIGURATION.write_text(TEXT, encoding="utf-8")
    host.start(["nginx", "-c", str(CONFIGURATION), "-g", "daemon off;"])
    await_port(host, PORT)


def await_port(host: Namespace, port: int) -> None:
    """Wait until somebody listens on the port.

    Raises:
        CommandError: Nobody does within a bound.
    """
    deadline = time.monotonic() + START_S
    pause = 0.02
    while not host.listens(port):
        if time.monotonic() > deadline:
            logs = "\n".join(
                path.read_text(errors="replace")[-600:] for path in Path("/run").glob("*.log")
            )
            raise CommandError(f"{host.name}: nobody listens on port {port}\n{logs}".strip())
        time.sleep(pause)
        # Waiting is free in virtual time, looking is not.
        pause = min(2 * pause, 0.5)
