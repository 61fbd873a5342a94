# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schema of a mesh's variables, generated from the model, for editors.

It says what each value may be by itself. Whether the values fit together is checked by
``checks``, which no schema can replace.
"""

from typing import Any

from ktcp_ops.mesh.inventory.reader import INJECTED
from ktcp_ops.mesh.model.mesh import Mesh

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Give the schema of a file of variables that holds ``ktcp_mesh``."""
    generated = Mesh.model_json_schema()
    kinds = generated.pop("$defs")
    # Relay describes other variables, Endpoint is written as one text, Latency has its own file.
    for name in ("Relay", "Endpoint", "Latency"):
        kinds.pop(name, None)
    for name in INJECTED:
        generated["properties"].pop(name)
    kinds["Mesh"] = generated
    for kind in kinds.values():
        plain(kind)
    return {
        "$schema": DIALECT,
        "title": "Variables of a KTCP mesh",
        "type": "object",
        "properties": {"ktcp_mesh": {"$ref": "#/$defs/Mesh"}},
        "$defs": dict(sorted(kinds.items())),
    }


def plain(kind: dict[str, Any]) -> None:
    """Remove what tells a reader nothing: titles that repeat the key, and defaults of None."""
    for field in kind.get("properties", {}).values():
        field.pop("title", None)
        if "default" in field and field["default"] is None:
            del field["default"]
