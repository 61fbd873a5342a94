# SPDX-License-Identifier: GPL-2.0-only
"""Checks of a relay's host by itself: kernels, module, services, drift, settings, clock.

Each check is a function from what is known of one relay to its findings.
"""

import re
from collections.abc import Iterator, Sequence

from ktcp_ops import __version__
from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.diagnosis.facts import Drift
from ktcp_ops.mesh.diagnosis.finding import ROLLOUT, Finding, Patient, Severity
from ktcp_ops.mesh.rollout.change import differences
from ktcp_ops.run.environment import collection_root

MAX_LISTED = 5
CONNTRACK_FULL = 0.8
CONNTRACK_PER_SPLIT = 2
"""A split's two connections, each with an entry of its own."""
SKEW_S = 2.0
STRICT = 1
COOKIES_ALWAYS = 2


def kernels(patient: Patient) -> Iterator[Finding]:
    """KTCP supports every kernel that may be booted, and the module is built for it."""
    supported = re.search(
        r'^BUILD_EXCLUSIVE_KERNEL="(.*)"$',
        (collection_root() / "kmod/dkms.conf").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    for kernel in patient.facts.kernels:
        runs = kernel.release == patient.facts.running
        boots = "the relay splits nothing" if runs else "after a boot into it nothing is split"
        severity = Severity.ERROR if runs else Severity.WARNING
        if supported and not re.search(supported[1], kernel.release):
            yield Finding(
                check="kernel",
                severity=severity,
                seen=f"kernel {kernel.release} is not supported by KTCP",
                meaning=boots,
                fix="install and boot Debian's kernel 6.1 or later; remove this one",
            )
            continue
        if kernel.srcversion is None:
            yield Finding(
                check="kernel",
                severity=severity,
                seen=f"kernel {kernel.release} has no module ktcp",
                meaning=boots,
                fix=f"{ROLLOUT}; DKMS's log is /var/lib/dkms/ktcp/*/build/make.log",
            )
        if not kernel.headers:
            yield Finding(
                check="headers",
                severity=Severity.WARNING,
                seen=f"kernel {kernel.release} has no headers",
                meaning="DKMS cannot build the next version of the module for it",
                fix=f"apt-get install linux-headers-{kernel.release}",
            )


def module(patient: Patient) -> Iterator[Finding]:
    """The loaded module is the installed one, and of our version."""
    facts = patient.facts
    if facts.loaded is None:
        yield Finding(
            check="module",
            severity=Severity.ERROR,
            seen="the module is not loaded",
            meaning="all flows are routed, none is split",
            fix="systemctl status ktcp says why; systemctl restart ktcp ktcp-steering",
        )
        return
    kernel = facts.module()
    if kernel and kernel.srcversion and kernel.srcversion != facts.loaded:
        yield Finding(
            check="module",
            severity=Severity.DRIFT,
            seen=f"srcversion {facts.loaded} is loaded, {kernel.srcversion} is installed",
            meaning="the next reload or reboot changes the module",
            fix=f"{ROLLOUT}, which reloads the module; live splits are reset",
        )
    version = patient.status.state.version.get("module") if patient.status.state else None
    if version and version != __version__:
        yield Finding(
            check="module",
            severity=Severity.DRIFT,
            seen=f"module {version} is loaded, this ktcp-ops is {__version__}",
            meaning="the relay was rolled out with another version",
            fix=ROLLOUT,
        )


def secure_boot(patient: Patient) -> Iterator[Finding]:
    """Where the firmware requires signatures, the module has one."""
    kernel = patient.facts.module()
    if patient.facts.secure_boot and kernel and kernel.srcversion and not kernel.signer:
        yield Finding(
            check="secure boot",
            severity=Severity.ERROR,
            seen="Secure Boot is on, and the module is not signed",
            meaning="the kernel refuses the module; nothing is split after a reboot",
            fix="enroll a key with mokutil and have DKMS sign with it (mok_signing_key in"
            " /etc/dkms/framework.conf), then build the module again",
        )


def services(patient: Patient) -> Iterator[Finding]:
    """Both services run."""
    for unit, state in patient.facts.services.items():
        if state != "active":
            yield Finding(
                check="services",
                severity=Severity.ERROR,
                seen=f"{unit} is {state}",
                meaning="flows are routed, none is split",
                fix=f"systemctl status {unit}",
            )


def drift(patient: Patient) -> Iterator[Finding]:
    """What is in force agrees with the relay's files, and with the mesh."""
    facts = patient.facts
    yield from command_drift("ktcp-apply --check", "configuration", facts.configuration)
    yield from command_drift("ktcp-steering check", "rules", facts.rules)
    if patient.status.state is None:
        return
    lines = [
        f"{change.file}: {change.sign} {change.line}"
        for change in differences(patient.node, patient.status.state)
    ]
    if lines:
        yield Finding(
            check="mesh",
            severity=Severity.DRIFT,
            seen=listed(lines),
            meaning="the relay is not configured as the mesh in this inventory says",
            fix=f"{ROLLOUT}; ktcp-ops mesh plan --live shows first what that changes",
        )


def command_drift(command: str, check: str, found: Drift) -> Iterator[Finding]:
    """Report what one of KTCP's commands on the relay found."""
    if found.code == 0:
        return
    drifted = found.code == ExitCode.DRIFT
    yield Finding(
        check=check,
        severity=Severity.DRIFT if drifted else Severity.ERROR,
        seen=f"{command}: {listed(found.lines) if found.lines else 'it is not installed'}",
        meaning="what is in force differs from the relay's files"
        if drifted
        else "what is in force cannot be compared with the relay's files",
        fix=f"{ROLLOUT}, or systemctl restart ktcp ktcp-steering on the relay",
    )


def listed(lines: Sequence[str]) -> str:
    """Join the first lines of many, and count the others."""
    more = len(lines) - MAX_LISTED
    return "; ".join([*lines[:MAX_LISTED], *([f"and {more} more"] if more > 0 else [])])


def forwarding(patient: Patient) -> Iterator[Finding]:
    """Flows that are not split can pass."""
    for version, name in ((4, "net.ipv4.ip_forward"), (6, "net.ipv6.conf.all.forwarding")):
        if patient.forwards_for(version) and patient.facts.sysctls.get(name) == 0:
            yield Finding(
                check="forwarding",
                severity=Severity.ERROR,
                seen=f"{name} is 0",
                meaning=f"IPv{version} flows that pass unsplit are dropped: while the relay drains,"
                " is full, or has no module",
                fix=f"{ROLLOUT} with ktcp_tunables_forwarding; find who set it back: "
                f"grep -r {name} /etc/sysctl.d /etc/sysctl.conf",
            )


def fast_open(patient: Patient) -> Iterator[Finding]:
    """TCP Fast Open is on, so that a leg that is not from the pool costs no extra round trip."""
    settings = patient.status.state.settings if patient.status.state else {}
    value = patient.facts.sysctls.get("net.ipv4.tcp_fastopen")
    if settings.get("early_syn") == "on" and value is not None and value & 3 != 3:
        yield Finding(
            check="fast open",
            severity=Severity.HINT,
            seen=f"net.ipv4.tcp_fastopen is {value}",
            meaning="where the pool is empty, early SYN waits for a handshake between relays",
            fix=f"{ROLLOUT} with ktcp_tunables_fast_open, which sets it to 3",
        )


def syn_cookies(patient: Patient) -> Iterator[Finding]:
    """SYN cookies are not forced: only TCP remembers a flow that is taken ahead of conntrack."""
    state = patient.status.state
    always = patient.facts.sysctls.get("net.ipv4.tcp_syncookies") == COOKIES_ALWAYS
    if always and state and state.interception == "untracked":
        yield Finding(
            check="syn cookies",
            severity=Severity.ERROR,
            seen=f"net.ipv4.tcp_syncookies is {COOKIES_ALWAYS}",
            meaning="all flows are routed, none is split: with a cookie, nothing remembers that"
            " a flow was taken",
            fix="set it to 1 in ktcp_tunables_extra, or ktcp_interception to redirect",
        )


def return_route(patient: Patient) -> Iterator[Finding]:
    """Reverse path filtering (rp_filter) drops nothing that KTCP needs."""
    facts = patient.facts
    base = facts.sysctls.get("net.ipv4.conf.all.rp_filter", 0)
    strict = [
        name for name, link in facts.interfaces.items() if max(base, link.rp_filter) == STRICT
    ]
    loose = "sysctl -w net.ipv4.conf.{}.rp_filter=2, and the same in ktcp_tunables_extra"
    if patient.node["inside4"] in strict:
        yield Finding(
            check="rp_filter",
            severity=Severity.ERROR,
            seen=f"rp_filter is strict on {patient.node['inside4']}",
            meaning="answers of targets to clients of transparent paths are dropped",
            fix=loose.format(patient.node["inside4"]),
        )
    drops = facts.counters.get("rp_filter_drops", 0)
    if strict and drops:
        yield Finding(
            check="rp_filter",
            severity=Severity.WARNING,
            seen=f"rp_filter is strict on {', '.join(strict)}; {drops} packets were dropped so far",
            meaning="packets of some users or targets come in on another interface than the one"
            " that leads back to them",
            fix=f"correct the routes, or {loose.format('all')}",
        )
    elif len(strict) > 1:
        yield Finding(
            check="rp_filter",
            severity=Severity.HINT,
            seen=f"rp_filter is strict on {', '.join(strict)}",
            meaning="packets that come in on another interface than the one that leads back"
            " would be dropped; none was so far",
            fix=loose.format("all"),
        )


def conntrack(patient: Patient) -> Iterator[Finding]:
    """There is room for the connections that the relay may have."""
    most = patient.facts.sysctls.get("net.netfilter.nf_conntrack_max", 0)
    count = patient.facts.sysctls.get("net.netfilter.nf_conntrack_count", 0)
    settings = patient.status.state.settings if patient.status.state else {}
    wanted = CONNTRACK_PER_SPLIT * int(settings.get("max_splits", 0))
    more = "net.netfilter.nf_conntrack_max in ktcp_tunables_extra"
    drops = patient.facts.counters.get("conntrack_drops", 0)
    if most and count > CONNTRACK_FULL * most:
        yield Finding(
            check="conntrack",
            severity=Severity.ERROR,
            seen=f"{count} of {most} entries are in use",
            meaning="when the table is full, everybody's new connections are dropped",
            fix=f"raise {more}",
        )
    elif drops:
        yield Finding(
            check="conntrack",
            severity=Severity.WARNING,
            seen=f"{drops} packets were dropped so far because there was no free entry",
            meaning="the table was full at some time; connections failed then",
            fix=f"raise {more}",
        )
    if 0 < most < wanted:
        yield Finding(
            check="conntrack",
            severity=Severity.WARNING,
            seen=f"{most} entries for up to {wanted // CONNTRACK_PER_SPLIT} splits,"
            f" which need {wanted}",
            meaning="the table is full before max_splits lets flows pass unsplit",
            fix=f"raise {more}, or lower settings.max_splits",
        )


def clock(patient: Patient) -> Iterator[Finding]:
    """The clock is right: relays do not need that, but people who read their logs do."""
    begun, ended = patient.asked
    skew = max(begun - patient.facts.time, patient.facts.time - ended, 0.0)
    meaning = "logs, metrics and certificates have the wrong time; KTCP itself needs no clock"
    if skew > SKEW_S:
        yield Finding(
            check="clock",
            severity=Severity.WARNING,
            seen=f"its clock and the one here differ by {skew:.0f} s",
            meaning=meaning,
            fix="timedatectl timesync-status; apt-get install systemd-timesyncd",
        )
    elif patient.facts.synchronized == "no":
        yield Finding(
            check="clock",
            severity=Severity.HINT,
            seen="its clock is right now, but nothing keeps it right",
            meaning=meaning,
            fix="apt-get install systemd-timesyncd",
        )
