# SPDX-License-Identifier: GPL-2.0-only
"""Reads a description into a mesh, or reports every error in it, one sentence each.

A value that cannot be read is left out and noted as unreadable. The rest is still checked, so
that one run shows everything that has to be corrected.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.checks import catalogue, together
from ktcp_ops.mesh.checks.subject import Problem, Subject, Unreadable
from ktcp_ops.mesh.model import ways
from ktcp_ops.mesh.model.description import Description, key_path
from ktcp_ops.mesh.model.latency import Latency, load
from ktcp_ops.mesh.model.mesh import (
    Auto,
    ConnectionPool,
    Edge,
    ExitRule,
    ListeningPorts,
    Mesh,
    Path,
    Probe,
    Service,
    Settings,
    ThreadPool,
    Tunnel,
)

INJECTED = {"name", "relays", "keys", "latency"}
"""Fields of the model that do not come from the variable ``ktcp_mesh``."""

Location = tuple[str | int, ...]


def read_all(descriptions: Sequence[Description]) -> tuple[Mesh, ...]:
    """Check the meshes of an inventory, each by itself and all together, and give them.

    Raises:
        InvalidMeshError: with one sentence for each problem of any mesh.
    """
    meshes: dict[str, Mesh] = {}
    sentences: list[str] = []
    for description in descriptions:
        try:
            meshes[description.name] = read(description)
        except InvalidMeshError as invalid:
            sentences += invalid.problems
    if len(descriptions) > 1:
        sentences += together.sentences(descriptions, meshes)
    if sentences:
        raise InvalidMeshError(list(dict.fromkeys(sentences)))
    return tuple(meshes.values())


def read(description: Description) -> Mesh:
    """Check a description and give its mesh.

    Raises:
        InvalidMeshError: with one sentence for each problem: file, key, what is wrong, fix.
    """
    found: list[Problem] = []
    unreadable = Unreadable()
    raw = gather(description, found)
    raw["latency"], sentences = measured(description)
    mesh = ways.resolve(parse(raw, found, unreadable))
    left = [number for number in range(path_count(raw)) if not is_unusable(number, unreadable)]
    subject = Subject(
        mesh=mesh,
        hosts=frozenset(description.hosts),
        unreadable=unreadable,
        paths=tuple(zip(left, mesh.paths, strict=True)),
    )
    if description.mesh is not None:
        found += catalogue.problems(subject)
    sentences += [f"{description.where(p.key)}: {p.key}: {p.text}." for p in found]
    if sentences:
        raise InvalidMeshError(list(dict.fromkeys(sentences)))
    return mesh


def measured(description: Description) -> tuple[Latency, list[str]]:
    """Give what the latency file holds, or what is wrong with it."""
    try:
        return load(description.latency), []
    except InvalidMeshError as error:
        return Latency(description.latency), list(error.problems)


def is_unusable(number: int, unreadable: Unreadable) -> bool:
    """Tell whether a path cannot even be followed: its relays or all of it are unreadable."""
    needed = {"name", "ingress", "via", "exits", "*"}
    return "paths" in unreadable.sections or bool(
        needed & unreadable.path_fields.get(number, set())
    )


def path_count(raw: Mapping[str, Any]) -> int:
    """Count the paths as described."""
    paths = raw.get("paths")
    return len(paths) if isinstance(paths, Sequence) and not isinstance(paths, str) else 0


def gather(description: Description, found: list[Problem]) -> dict[str, Any]:
    """Put the variables of an inventory together into what the model reads."""
    raw: dict[str, Any] = {}
    if description.mesh is None:
        found.append(
            Problem("ktcp_mesh", "is not set; describe the mesh in group_vars/all/mesh.yml")
        )
    elif isinstance(description.mesh, Mapping):
        raw = dict(description.mesh)
    else:
        found.append(Problem("ktcp_mesh", "is not a mapping; write `name: value` lines below it"))
    for name in sorted(INJECTED & set(raw)):
        del raw[name]
        found.append(Problem(key_path("ktcp_mesh", name), unknown(name, Mesh)))
    raw["name"] = description.name
    raw["relays"] = {
        name: {"name": name, **variables} for name, variables in description.relays.items()
    }
    raw["keys"] = {} if description.keys is None else description.keys
    return raw


def parse(raw: Mapping[str, Any], found: list[Problem], unreadable: Unreadable) -> Mesh:
    """Make the model of all that can be read; note the rest as problems and as unreadable."""
    try:
        return Mesh.model_validate(raw)
    except ValidationError as errors:
        # The context holds the parsers' own errors; the inputs may be keys and stay out.
        details = errors.errors(include_url=False)
    for detail in details:
        location = detail["loc"]
        found.append(Problem(spell(location), sentence(location, detail)))
        mark_unreadable(location, unreadable)
    return Mesh.model_validate(prune(raw, unreadable))


def spell(location: Location) -> str:
    """Spell the key of the user's variables that a location of the model comes from."""
    parts = [part for part in location if part != "[key]"]
    roots = {"relays": ["hostvars"], "keys": ["ktcp_keys"]}
    start: list[str | int] = list(roots.get(str(parts[0]), ["ktcp_mesh", parts[0]]))
    inner = [str(part) for part in parts[1:]] if parts[0] == "keys" else parts[1:]
    return key_path(*start, *inner)


def mark_unreadable(location: Location, unreadable: Unreadable) -> None:
    """Note which part of the mesh is unreadable because of a location."""
    match location:
        case ("paths", int(number), *inner):
            unreadable.path_fields.setdefault(number, set()).add(str(inner[0]) if inner else "*")
        case ("relays", str(name), *_):
            unreadable.relays.add(name)
        case ("exits", str(name), *_):
            unreadable.exits.add(name)
        case ("edges", str(name), *_):
            unreadable.edges.add(name)
        case ("keys", identity, *_):
            unreadable.keys.add(str(identity))
        case _:
            unreadable.sections.add(str(location[0]))


def prune(raw: Mapping[str, Any], unreadable: Unreadable) -> dict[str, Any]:
    """Leave the unreadable parts out."""
    kept = {name: value for name, value in raw.items() if name not in unreadable.sections}
    if "paths" in kept:
        kept["paths"] = [
            prune_path(path, unreadable.path_fields.get(number, set()))
            for number, path in enumerate(kept["paths"])
            if not is_unusable(number, unreadable)
        ]
    if "exits" in kept:
        kept["exits"] = without(kept["exits"], unreadable.exits)
    if "edges" in kept:
        kept["edges"] = without(kept["edges"], unreadable.edges)
    if "keys" in kept:
        kept["keys"] = without(kept["keys"], unreadable.keys)
    kept["relays"] = {
        name: {"name": name} if name in unreadable.relays else relay
        for name, relay in raw["relays"].items()
    }
    return kept


def prune_path(path: Mapping[str, Any], fields: set[str]) -> dict[Any, Any]:
    """Leave unreadable fields out of a path; those that say which flows it takes go together."""
    matching = {"destinations", "ports", "service"}
    return without(path, fields | matching if fields & matching else fields)


def without(items: Mapping[Any, Any], names: set[str]) -> dict[Any, Any]:
    """Leave some entries of a mapping out."""
    return {name: value for name, value in items.items() if str(name) not in names}


def sentence(location: Location, detail: ErrorDetails) -> str:
    """Say what is wrong with a value and how to put it right."""
    kind = detail["type"]
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "extra_forbidden":
        return unknown(str(location[-1]), model_at(location[:-1]))
    if kind == "literal_error":
        return f"{detail['input']!r} is not known; write {detail['ctx']['expected']}"
    return {
        "missing": "is missing; add it",
        "tuple_type": "is not a list; write [...] or lines that begin with a dash",
        "dict_type": "is not a mapping; write `name: value` lines below it",
        "model_type": "is not a mapping; write `name: value` lines below it",
        "too_short": "is empty; write at least one",
    }.get(kind, f"cannot be read ({detail['msg']}); `ktcp-ops mesh schema` lists all keys")


def unknown(name: str, model: type[BaseModel]) -> str:
    """Say that a key is not known, and which ones are."""
    known = sorted({spec.alias or field for field, spec in model.model_fields.items()})
    if model is Mesh:
        known = [field for field in known if field not in INJECTED]
    near = get_close_matches(name, known, n=1)
    return f"is not known; write {near[0] if near else 'one of ' + ', '.join(known)}, or remove it"


def model_at(location: Location) -> type[BaseModel]:
    """Find the model that says which keys a location may have."""
    models: dict[tuple[object, ...], type[BaseModel]] = {
        ("ports",): ListeningPorts,
        ("pool",): ConnectionPool,
        ("thread_pool",): ThreadPool,
        ("settings",): Settings,
        ("auto",): Auto,
        ("paths", "*"): Path,
        ("paths", "*", "probe"): Probe,
        ("paths", "*", "service"): Service,
        ("exits", "*", "*"): ExitRule,
        ("tunnel",): Tunnel,
        ("edges", "*"): Edge,
    }
    inner = {"probe", "service"}
    names = {root[0] for root in models} | inner
    shape = tuple(
        part if part in names and (place == 0 or part in inner) else "*"
        for place, part in enumerate(location)
    )
    return models.get(shape, Mesh)
