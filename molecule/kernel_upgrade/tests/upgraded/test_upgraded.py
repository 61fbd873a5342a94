# SPDX-License-Identifier: GPL-2.0-only
"""The relay runs on its new kernel, without any help since."""

from collections.abc import Callable

import pytest
from testinfra.host import Host


@pytest.fixture
def relay(guest: Callable[[str], Host]) -> Host:
    return guest("relay")


def test_the_new_kernel_runs(relay: Host) -> None:
    assert relay.check_output("uname -r").endswith("-cloud-amd64")


def test_ktcp_runs_on_it(relay: Host) -> None:
    for unit in ("ktcp.service", "ktcp-steering.service"):
        assert relay.service(unit).is_running, unit
    assert relay.check_output("ktcp-apply --check") == ""
    assert relay.check_output("ktcp-steering check") == ""
    assert relay.socket("tcp://5557").is_listening


def test_its_module_is_signed_with_the_configured_key(relay: Host) -> None:
    assert relay.check_output("modinfo -F signer ktcp") == "A key of the test"
    serial = relay.check_output("openssl x509 -noout -serial -in /root/mok.der")
    key = relay.check_output("modinfo -F sig_key ktcp")
    assert key.replace(":", "") == serial.removeprefix("serial=")


def test_no_kernel_is_without_the_module(relay: Host) -> None:
    assert relay.check_output("ktcp-dkms lacking") == ""
