# SPDX-License-Identifier: GPL-2.0-only
"""Reads an inventory with Ansible's own program, so that vaults, clouds and scripts all work."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ktcp_ops.errors import InvalidMeshError, UsageError
from ktcp_ops.run.environment import ansible_environment

SOURCES = {"ktcp_mesh", "ktcp_keys"}
"""The variables from which the plugin ``ktcp_mesh`` computes ``ktcp_node``."""

YAML_SUFFIXES = {".yml", ".yaml"}


def resolve(inventories: Sequence[str]) -> tuple[str, ...]:
    """Make the paths of inventories absolute; a list of hosts (``a,b,``) stays as it is.

    Raises:
        UsageError: for one that does not exist.
    """
    missing = [name for name in inventories if "," not in name and not Path(name).exists()]
    if missing:
        raise UsageError("\n".join(f"{name}: there is no such inventory" for name in missing))
    return tuple(name if "," in name else str(Path(name).resolve()) for name in inventories)


def export(inventories: Sequence[str]) -> dict[str, Any]:
    """Give all variables of group ``all`` after the plugin ``ktcp_mesh`` has exported its part.

    Secrets pass through a pipe only and are never written to a file.

    Raises:
        UsageError: for an inventory that does not exist.
        InvalidMeshError: when Ansible cannot read it.
    """
    said = ask(inventories, "--export", KTCP_MESH_EXPORT="true")
    variables = json.loads(said, object_hook=unwrap).get("all", {}).get("vars", {})
    return dict(variables)


def listing(inventories: Sequence[str]) -> dict[str, Any]:
    """Give every group, and every host with all its variables, as ``ansible-inventory`` does.

    Texts that Ansible must not evaluate keep their mark (``__ansible_unsafe``); so do vaulted ones.

    Raises:
        UsageError: for an inventory that does not exist.
        InvalidMeshError: when Ansible cannot read it, or the mesh in it is invalid.
    """
    return dict(json.loads(ask(inventories)))


def portion(listing: Mapping[str, Any], hosts: Collection[str]) -> dict[str, Any]:
    """Make an inventory of some hosts of a listing, in the form that Ansible reads from files.

    It leaves out the variables that the mesh was computed from. It has each relay's ``ktcp_node``,
    and so only the keys that these relays use.
    """
    variables = {
        host: {name: value for name, value in own.items() if name not in SOURCES}
        for host, own in listing["_meta"]["hostvars"].items()
    }
    groups: dict[str, Any] = {
        name: {
            "hosts": {host: {} for host in group.get("hosts", ()) if host in hosts},
            "children": {child: {} for child in group.get("children", ())},
        }
        for name, group in listing.items()
        if name not in ("_meta", "all", "ungrouped")
    }
    named = {host: variables.get(host, {}) for host in sorted(hosts)}
    return {"all": {"hosts": named, "children": groups}}


def ask(inventories: Sequence[str], *options: str, **environment: str) -> str:
    """Give what ``ansible-inventory --list`` prints."""
    arguments = [part for name in resolve(inventories) for part in ("-i", name)]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "inventory", "--list", *options, *arguments],
        env={**os.environ, **ansible_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    paths = [Path(name) for name in resolve(inventories)]
    if done.returncode != 0:
        broken = [line for path in paths for line in broken_files(path)]
        if not broken and "Decryption failed" in done.stderr:
            broken = undecrypted([file for path in paths for file in vaulted_files(path)])
        raise InvalidMeshError(broken or complaints(", ".join(inventories), done.stderr))
    doubled = [line for path in paths for file in yaml_files(path) for line in doubled_keys(file)]
    if doubled:
        raise InvalidMeshError(doubled)
    return done.stdout


def yaml_files(inventory: Path) -> Iterator[Path]:
    """Find the YAML files of an inventory; of a file, also those of its variables beside it."""
    beside = [inventory.parent / name for name in ("group_vars", "host_vars")]
    places = [inventory] if inventory.is_dir() else [inventory, *beside]
    files = (path for place in places for path in (place, *sorted(place.rglob("*"))))
    yield from (path for path in files if path.suffix in YAML_SUFFIXES and path.is_file())


def broken_files(inventory: Path) -> Iterator[str]:
    """Say which files of an inventory are not YAML, and where; Ansible itself names only one."""
    for path in yaml_files(inventory):
        try:
            # Composed, not constructed: tags like !vault are Ansible's.
            list(yaml.compose_all(path.read_text(encoding="utf-8")))
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            yield f"{path}{line}: is not YAML: {error.problem or error.context}"
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            yield f"{path}: cannot be read: {error}"


def doubled_keys(path: Path) -> Iterator[str]:
    """Say which keys a file has twice in one mapping; Ansible takes the last and only warns."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        waiting: list[Any] = list(yaml.compose_all(path.read_text(encoding="utf-8"), loader))
    except (OSError, UnicodeError, yaml.YAMLError):
        return  # a script, or something that only Ansible can read
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += (value for _, value in node.value)
            yield from doubled_in(node, path)


def doubled_in(node: yaml.MappingNode, path: Path) -> Iterator[str]:
    """Say which keys of one mapping are there twice."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            first = lines.get((key.tag, key.value))
            lines.setdefault((key.tag, key.value), line)
            if first is not None:
                yield (
                    f"{path}:{line}: the key {key.value} is in line {first} already, "
                    "and only the last counts; remove one of the two"
                )


def vaulted_files(inventory: Path) -> Iterator[Path]:
    """Find the files of an inventory in which something is encrypted."""
    for path in yaml_files(inventory):
        try:
            if "$ANSIBLE_VAULT;" in path.read_text(encoding="utf-8"):
                yield path
        except (OSError, UnicodeError):
            continue


def undecrypted(files: Sequence[Path]) -> list[str]:
    """Say that no vault password fits these files."""
    named = ", ".join(map(str, files)) or "the inventory"
    return [
        (
            f"{named}: cannot be decrypted: the vault password is wrong; "
            "correct it in the file that ANSIBLE_VAULT_PASSWORD_FILE names"
        )
    ]


def unwrap(item: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON is what it is
    """Remove the mark of a text that Ansible must not evaluate as a template."""
    return item["__ansible_unsafe"] if item.keys() == {"__ansible_unsafe"} else item


def complaints(inventory: str, stderr: str) -> list[str]:
    """Make sentences of what Ansible said about an inventory that it cannot read."""
    # Other plugins that try the same file only say that it is not theirs, and the last line
    # only says that there was an error.
    noise = re.compile(
        r"Failed to parse inventory with '(ini|yaml|toml|host_list|script)'|Completely failed"
    )
    messages = [
        # The first paragraph says it all; the rest repeats it with a stack trace.
        " ".join(message.split("\n\n")[0].split())
        for message in re.split(r"^\[(?:WARNING|ERROR)\]: ", stderr, flags=re.MULTILINE)
        if message.strip()
    ]
    telling = [message for message in messages if not noise.match(message)]
    advice = "; put the password's file into ANSIBLE_VAULT_PASSWORD_FILE"
    return [
        f"{inventory}: cannot be read: {text}{advice if 'no vault secrets' in text else ''}"
        for text in dict.fromkeys(telling or messages or ["Ansible gave no reason"])
    ]
