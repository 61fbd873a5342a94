# SPDX-License-Identifier: GPL-2.0-only
"""Steering by TPROXY instead of REDIRECT: no address is changed on the way."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.mesh import CLIENT_PORT, TAKEN, Mesh, steering
from tests.kernel.topology import Family

TABLE = 100

# Behind the gate, where iptables' TPROXY cannot be, since it works in mangle only. Only the SYN has
# the bit; later packets are kept here by their socket.
RULES = f"""
table inet ktcp_tproxy {{
    chain prerouting {{
        type filter hook prerouting priority mangle + 10; policy accept;
        iifname != "to-c" accept
        meta l4proto tcp socket transparent 1 meta mark set {TAKEN:#x} accept
        meta l4proto tcp meta mark & {TAKEN:#x} == {TAKEN:#x} tproxy to :{CLIENT_PORT} accept
    }}
}}
"""


@contextmanager
def tproxied(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let rc hand the flows of a family to KTCP by TPROXY."""
    ip = ["ip", f"-{family.name[1]}"]
    rule = ["fwmark", f"{TAKEN:#x}/{TAKEN:#x}", "lookup", f"{TABLE}"]
    route = ["local", "default", "dev", "lo", "table", f"{TABLE}"]
    marks = steering(family).split("*nat")[0] + "*nat\nCOMMIT\n"
    mesh.rc.write("listeners", f"del client {CLIENT_PORT}")
    mesh.rc.write("listeners", f"add client {CLIENT_PORT} tproxy")
    with mesh.steered(family, marks):
        mesh.rc.run(["nft", "-f", "-"], stdin=RULES)
        mesh.rc.run([*ip, "rule", "add", *rule])
        mesh.rc.run([*ip, "route", "add", *route])
        try:
            yield
        finally:
            mesh.rc.run([*ip, "route", "del", *route])
            mesh.rc.run([*ip, "rule", "del", *rule])
            mesh.rc.run(["nft", "delete", "table", "inet", "ktcp_tproxy"])
