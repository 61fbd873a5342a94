# SPDX-License-Identifier: GPL-2.0-only
"""A support bundle: what the relays and the mesh look like, without secrets, in one archive."""

import base64
import binascii
import io
import json
import re
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ktcp_ops import __version__
from ktcp_ops.mesh.inventory.selection import about
from ktcp_ops.mesh.journal.redact import Redactor, without_keys
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import variables
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

COLLECT_TASK = "Collect files and outputs"
LARGEST = 64 << 20
"""The most that a relay's answer may be, unpacked."""

Texts = dict[str, str]
"""The files of a bundle: path in it -> text."""


def collect(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None,
    flows: bool,
) -> tuple[RunResult, Texts]:
    """Ask the relays, and give the texts of a bundle, without secrets."""
    job = Job(
        title="bundle",
        playbook=playbook("bundle.yml"),
        inventories=resolve(inventories),
        limit=limit,
        variables={**variables(mesh), "ktcp_flows": flows},
        keep=frozenset({COLLECT_TASK}),
    )
    result = engine.run(about(mesh, job), reporter)
    redactor = Redactor(mesh.keys.values())
    texts = {**own_texts(mesh, result), **relay_texts(result)}
    clean = redactor.clean
    return result, {safe(clean(name)): clean(text) for name, text in sorted(texts.items())}


def own_texts(mesh: Mesh, result: RunResult) -> Texts:
    """Give what is known here: versions, the plan, and how the run went."""
    shown = {name: without_keys(node) for name, node in plan(mesh).items()}
    return {
        "version.txt": f"ktcp-ops {__version__}\n",
        "plan.json": as_json(shown),
        "run.json": as_json(result.to_data()),
    }


def as_json(data: Any) -> str:  # noqa: ANN401 - JSON is what it is
    """Write data for people and programs."""
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def relay_texts(result: RunResult) -> Texts:
    """Give what the relays said, each in a directory of its own."""
    texts = {}
    for relay, output in result.outputs.get(COLLECT_TASK, {}).items():
        for name, text in unpack(str(output.get("stdout") or "")).items():
            texts[f"{relay}/{name}"] = text
    return texts


def unpack(said: str) -> Texts:
    """Read what ``playbooks/files/bundle.py`` printed; what cannot be read is kept as it is."""
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(said, validate=True), LARGEST)
        found = json.loads(data)
    except (binascii.Error, zlib.error, ValueError):
        return {"not-understood.txt": said}
    if not isinstance(found, Mapping):
        return {"not-understood.txt": said}
    return {str(name): str(text) for name, text in found.items()}


def safe(name: str) -> str:
    """Make a path that cannot lead out of the archive, whatever a host calls its files."""
    words = [re.sub(r"[^\w.+@-]", "_", word) for word in name.split("/")]
    return "/".join(word for word in words if word.strip("."))


def write(path: Path, texts: Texts, taken: datetime) -> None:
    """Write the archive, readable by its owner only: it still has addresses and names."""
    root = path.name.split(".")[0]
    path.touch(mode=0o600, exist_ok=False)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            content = text.encode()
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(taken.timestamp())
            archive.addfile(member, io.BytesIO(content))
