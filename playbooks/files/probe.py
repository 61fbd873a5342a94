# SPDX-License-Identifier: GPL-2.0-only
"""Download URLs one after the other and print, as JSON, how each went.

Usage: probe.py TIMEOUT_S URL... Stands alone: it runs on a host of the inventory with
nothing but Python's own library. A failed download is a finding, so the exit code is 0.
"""

import hashlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request

# A proxy from the environment would hide the path under test.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, timeout: float) -> dict[str, object]:
    """Download one URL; times are seconds since the start."""
    digest, size = hashlib.sha256(), 0
    first = None
    found: dict[str, object] = {"url": url, "status": None, "error": None}
    start = time.monotonic()
    try:
        with OPENER.open(url, timeout=timeout) as answer:
            found["status"] = answer.status
            while block := answer.read1(65536):
                if first is None:
                    first = time.monotonic() - start
                digest.update(block)
                size += len(block)
            promised = answer.headers.get("Content-Length")
        if promised is not None and size != int(promised):
            found["error"] = f"ended after {size} of {promised} bytes"
    except urllib.error.HTTPError as error:
        found["status"] = error.code
        found["error"] = f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        found["error"] = str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        found["error"] = str(error) or type(error).__name__
    return {
        **found,
        "bytes": size,
        "sha256": digest.hexdigest(),
        "first_byte_s": first,
        "total_s": time.monotonic() - start,
    }


if __name__ == "__main__":
    json.dump([fetch(url, float(sys.argv[1])) for url in sys.argv[2:]], sys.stdout)
