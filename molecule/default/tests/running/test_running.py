# SPDX-License-Identifier: GPL-2.0-only
"""A relay after a rollout and a reboot, without any help since."""

from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host


@pytest.fixture
def relay(guest: Callable[[str], Host]) -> Host:
    return guest("relay")


def test_it_was_rebooted(relay: Host) -> None:
    assert relay.run("cmp /var/tmp/boot_id /proc/sys/kernel/random/boot_id").rc == 1


@pytest.mark.parametrize("unit", ["ktcp.service", "ktcp-steering.service", "ktcp-metrics.timer"])
def test_the_services_run(relay: Host, unit: str) -> None:
    assert relay.service(unit).is_running
    assert relay.service(unit).is_enabled


def test_the_loaded_module_is_the_built_one(relay: Host) -> None:
    built = relay.check_output("modinfo -F srcversion ktcp")
    assert relay.file("/sys/module/ktcp/srcversion").content_string.strip() == built
    assert f"srcversion {built}" in relay.file("/proc/net/ktcp/version").content_string


def test_every_kernel_has_the_module(relay: Host) -> None:
    kernels = relay.check_output(
        "for f in /lib/modules/*/modules.builtin; do basename $(dirname $f); done"
    ).split()
    status = relay.check_output("dkms status ktcp")
    assert kernels
    for kernel in kernels:
        assert f", {kernel}, " in status
        relay.check_output(f"modinfo -k {kernel} ktcp")


def test_what_runs_is_what_is_configured(relay: Host) -> None:
    assert relay.check_output("ktcp-apply --check") == ""
    assert relay.check_output("ktcp-steering check") == ""
    assert relay.check_output("ktcp-firewall check") == ""
    assert "buffer_bytes 32768" in relay.file("/proc/net/ktcp/settings").content_string
    assert relay.socket("tcp://5557").is_listening


def test_only_root_reads_the_keys(relay: Host) -> None:
    assert relay.file("/etc/ktcp/keys.conf").mode == 0o600
    assert relay.file("/etc/ktcp").mode == 0o700
    assert "6b7463702d" not in relay.check_output("journalctl --no-pager")


@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
def test_only_what_the_module_takes_is_redirected(relay: Host, family: str) -> None:
    rules = relay.check_output(f"{family}-save")
    redirects = [line for line in rules.splitlines() if "REDIRECT" in line]
    assert len(redirects) == 1
    assert "--mark 0x80000101" in redirects[0]


def test_the_client_port_is_closed_to_what_was_not_redirected(relay: Host) -> None:
    assert relay.run("nc -z -w 3 127.0.0.1 5557").rc == 1


def test_it_forwards(relay: Host) -> None:
    assert relay.sysctl("net.ipv4.ip_forward") == 1
    assert relay.sysctl("net.ipv6.conf.all.forwarding") == 1


METRICS = "/var/lib/prometheus/node-exporter/ktcp.prom"


def test_its_counters_are_there_for_node_exporter(relay: Host) -> None:
    relay.check_output("systemctl start ktcp-metrics.service")
    file = relay.file(METRICS)
    assert (file.user, file.mode) == ("root", 0o644)
    lines = file.content_string.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["ktcp_up"] == "1"
    assert values["ktcp_listeners"] == "1"
    assert values["ktcp_max_splits"] == "10000"
    assert int(values['ktcp_threads{state="ready"}']) > 0
    assert all(value.isdigit() for value in values.values())


def test_readings_go_on_by_themselves_and_say_nothing(relay: Host) -> None:
    relay.check_output(f"rm {METRICS}")
    relay.check_output(f"timeout 90 sh -c 'until [ -e {METRICS} ]; do sleep 1; done'")
    assert "Finished" not in relay.check_output("journalctl --no-pager -u ktcp-metrics.service")


def test_drift_is_seen_and_mended(relay: Host) -> None:
    relay.check_output("echo 'del client 5557' > /proc/net/ktcp/listeners")
    relay.check_output("iptables -t mangle -F KTCP")
    seen = relay.run("ktcp-apply --check")
    assert (seen.rc, seen.stdout) == (6, "listeners: add client 5557\n")
    assert relay.run("ktcp-steering check").rc == 6
    relay.check_output("systemctl reload ktcp")
    relay.check_output("ktcp-steering up")
    test_what_runs_is_what_is_configured(relay)


@pytest.fixture
def strict(relay: Host) -> Iterator[Host]:
    """A relay with a firewall of nftables that drops redirected flows."""
    relay.check_output("nft add table inet strict")
    hook = "{ type filter hook input priority 0; policy accept; }"
    relay.check_output(f"nft 'add chain inet strict input {hook}'")
    relay.check_output("nft add rule inet strict input tcp dport 5557 drop")
    yield relay
    relay.check_output("nft delete table inet strict")
    relay.check_output("systemctl restart ktcp-steering")


def test_nothing_is_steered_that_another_firewall_drops(strict: Host) -> None:
    told = strict.run("ktcp-firewall check")
    assert told.rc == 6
    assert "inet strict input drops flows redirected to port 5557" in told.stdout
    assert strict.run("systemctl restart ktcp-steering").rc == 1
    assert "KTCP" not in strict.check_output("iptables-save && ip6tables-save")


@pytest.fixture
def broken(relay: Host) -> Iterator[Host]:
    """A relay with a line that no kernel accepts; it is removed afterwards."""
    relay.check_output("cp -p /etc/ktcp/listeners.conf /var/tmp/")
    relay.check_output("echo 'add client 99999' >> /etc/ktcp/listeners.conf")
    yield relay
    relay.check_output("cp -p /var/tmp/listeners.conf /etc/ktcp/ && rm /var/tmp/listeners.conf")
    relay.check_output("systemctl restart ktcp")
    relay.check_output("systemctl start ktcp-steering")


def test_a_service_that_starts_with_refused_files_uses_those_that_worked(broken: Host) -> None:
    broken.check_output("systemctl restart ktcp")
    assert "is used instead" in broken.check_output("journalctl --no-pager -u ktcp")
    assert "client 99999" not in broken.check_output("cat /proc/net/ktcp/listeners")
    assert broken.run("ktcp-apply --check").rc != 0


def test_a_configuration_that_is_refused_leaves_no_rule(broken: Host) -> None:
    # As on a relay where no configuration has worked before.
    broken.check_output("rm -r /etc/ktcp/applied")
    assert broken.run("systemctl restart ktcp").rc == 1
    assert "/etc/ktcp/listeners.conf line" in broken.check_output("journalctl --no-pager -u ktcp")
    assert not broken.file("/sys/module/ktcp").exists
    assert "KTCP" not in broken.check_output("iptables-save && ip6tables-save")
