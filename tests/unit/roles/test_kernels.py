# SPDX-License-Identifier: GPL-2.0-only
"""Which systems and kernels the roles accept, and which headers they install."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.playbook import played

ROLES = Path(__file__).resolve().parents[3] / "roles"
DEBIAN = {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "13"}
UBUNTU = {"os_family": "Debian", "distribution": "Ubuntu", "distribution_major_version": "24"}
RELEASE = {"distribution_version": "24.04"}
ROCKY = {"os_family": "RedHat", "distribution": "Rocky", "distribution_major_version": "9"}

# Host -> its system, running kernel and installed kernels.
HOSTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "stock": ({**DEBIAN, "kernel": "6.12.57+deb13-amd64"}, ["6.12.57+deb13-amd64", "7.4.1-amd64"]),
    "cloud": ({**DEBIAN, "kernel": "6.1.0-44-cloud-amd64"}, ["6.1.0-44-cloud-amd64"]),
    "backport": ({**DEBIAN, "kernel": "6.12.12+bpo-amd64"}, ["6.12.12+bpo-amd64"]),
    "latest": ({**DEBIAN, "kernel": "7.3.4+deb13-cloud-amd64"}, ["7.3.4+deb13-cloud-amd64"]),
    "arm64": ({**DEBIAN, "kernel": "6.12.57+deb13-arm64"}, ["6.12.57+deb13-arm64"]),
    "late": ({**DEBIAN, "kernel": "7.4.1+deb13-amd64"}, ["6.12.57+deb13-amd64"]),
    "early": ({**DEBIAN, "kernel": "5.10.0-30-amd64"}, ["5.10.0-30-amd64"]),
    "ubuntu": ({**UBUNTU, **RELEASE, "kernel": "6.8.0-51-generic"}, ["6.8.0-51-generic"]),
    "hwe": ({**UBUNTU, **RELEASE, "kernel": "6.14.0-24-generic"}, ["6.14.0-24-generic"]),
    "aws": ({**UBUNTU, **RELEASE, "kernel": "6.14.0-1010-aws"}, ["6.14.0-1010-aws"]),
    "azure": ({**UBUNTU, **RELEASE, "kernel": "6.8.0-1021-azure"}, ["6.8.0-1021-azure"]),
    "gcp": ({**UBUNTU, **RELEASE, "kernel": "6.8.0-1021-gcp"}, ["6.8.0-1021-gcp"]),
    "rocky": ({**ROCKY, "kernel": "6.12.0-55.el10.x86_64"}, ["6.12.0-55.el10.x86_64"]),
}


def case(facts: dict[str, str], kernels: list[str]) -> dict[str, Any]:
    """A host's facts, and the output of `find` for its kernels."""
    files = [{"path": f"/lib/modules/{kernel}/modules.builtin"} for kernel in kernels]
    return {"facts": facts | {"service_mgr": "systemd"}, "files": files}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The values of the roles' variables on each host, from one run of Ansible."""
    place = tmp_path_factory.mktemp("kernels")
    for role in ("ktcp_inventory", "ktcp_module"):
        (place / "roles" / role / "tasks").mkdir(parents=True)
        for part in ("vars", "defaults"):
            (place / "roles" / role / part).symlink_to(ROLES / role / part)
    (place / "kmod").symlink_to(ROLES.parent / "kmod")
    kept = {
        "problems": "{{ ktcp_inventory_problems }}",
        "packages": "{{ ktcp_module_packages }}",
        "headers": "{{ ktcp_module_headers }}",
    }
    task = {
        "ansible.builtin.copy": {
            "content": "{{ kept | to_json }}",
            "dest": f"{place}/{{{{ inventory_hostname }}}}.json",
        },
        "vars": {"kept": kept},
    }
    (place / "roles/ktcp_module/tasks/main.yml").write_text(json.dumps([task]))
    play = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_facts": "{{ case.facts }}",
            "ktcp_module_kernels": "{{ {'files': case.files} }}",
            "ansible_python_interpreter": sys.executable,
        },
        "roles": ["ktcp_inventory", "ktcp_module"],
    }
    hosts = {name: {"case": case(*about)} for name, about in HOSTS.items()}
    played(place, play, hosts=hosts)
    return {name: json.loads((place / f"{name}.json").read_text()) for name in HOSTS}


@pytest.mark.parametrize(
    ("host", "meta"),
    [
        ("stock", "linux-headers-amd64"),
        ("cloud", "linux-headers-cloud-amd64"),
        ("backport", "linux-headers-amd64"),
        ("latest", "linux-headers-cloud-amd64"),
        ("arm64", "linux-headers-arm64"),
        ("ubuntu", "linux-headers-generic"),
        ("hwe", "linux-headers-generic-hwe-24.04"),
        ("aws", "linux-headers-aws"),
        ("azure", "linux-headers-azure"),
        ("gcp", "linux-headers-gcp"),
    ],
)
def test_later_kernels_bring_their_headers(
    found: dict[str, dict[str, Any]], host: str, meta: str
) -> None:
    assert found[host]["packages"] == ["dkms", "kmod", meta]


def test_a_kernel_that_is_not_supported_needs_no_headers(
    found: dict[str, dict[str, Any]],
) -> None:
    assert found["stock"]["headers"] == ["linux-headers-6.12.57+deb13-amd64"]
    assert not any("kernel" in problem for problem in found["stock"]["problems"])


@pytest.mark.parametrize("host", ["stock", "cloud", "backport", "latest", "arm64"])
def test_the_kernels_of_debian_are_supported(found: dict[str, dict[str, Any]], host: str) -> None:
    running = HOSTS[host][0]["kernel"]
    assert f"linux-headers-{running}" in found[host]["headers"]
    assert not any("runs kernel" in problem for problem in found[host]["problems"])


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("late", "late: runs kernel 7.4.1+deb13-amd64, which the module does not support: boot"),
        ("early", "early: runs kernel 5.10.0-30-amd64: install and boot 6.1 or later"),
        ("ubuntu", 'ubuntu: runs Ubuntu 24: install one of {"Debian": ["12", "13"]}, or add it to'),
        ("rocky", "rocky: runs Rocky 9: packages come by apt only: use a host with one"),
    ],
)
def test_what_is_not_supported_is_said_first(
    found: dict[str, dict[str, Any]], host: str, sentence: str
) -> None:
    assert any(problem.startswith(sentence) for problem in found[host]["problems"])


def test_no_hint_leads_to_apt_where_there_is_none(found: dict[str, dict[str, Any]]) -> None:
    problems = found["rocky"]["problems"]
    assert not any("ktcp_inventory_releases" in problem for problem in problems)
