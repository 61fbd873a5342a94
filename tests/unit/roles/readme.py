# SPDX-License-Identifier: GPL-2.0-only
"""Writes each role's README.md from its argument specification and defaults.

python -m tests.unit.roles.readme
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
ROLES = ROOT / "roles"

# Ansible's markup in descriptions, and its Markdown.
MARKUP = ((re.compile(r"C\(([^)]*)\)"), r"`\1`"), (re.compile(r"I\(([^)]*)\)"), r"*\1*"))


def prose(description: str | list[str]) -> str:
    """Paragraphs of a description."""
    paragraphs = [description] if isinstance(description, str) else description
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text


def option_rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    """A table row for each option, those inside a dictionary after it."""
    rows = []
    for name, option in options.items():
        default = f"`{json.dumps(option['default'])}`" if "default" in option else ""
        default = "required" if option.get("required") else default
        text = prose(option.get("description", "")).replace("|", r"\|")
        rows.append(f"| `{prefix}{name}` | {option['type']} | {default} | {text} |")
        rows += option_rows(option.get("options", {}), f"{prefix}{name}.")
    return rows


def entry_point(name: str, spec: dict[str, Any]) -> list[str]:
    """One entry point's description and options."""
    lines = (
        []
        if name == "main"
        else [f"## `tasks_from: {name}`", "", spec["short_description"] + ".", ""]
    )
    if "description" in spec:
        lines += [prose(spec["description"]), ""]
    if spec["options"]:
        lines += ["| option | type | default | |", "|---|---|---|---|"]
        lines += [*option_rows(spec["options"]), ""]
    return lines


def readme(role: Path) -> str:
    """The whole README of a role."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    lines = [f"# {role.name}", "", specs["main"]["short_description"] + ".", ""]
    for name, spec in specs.items():
        lines += entry_point(name, spec)
    defaults = "`defaults/main.yml` says what each option trades for what."
    return "\n".join([*lines, defaults, ""])


def roles() -> list[Path]:
    """Every role, by name."""
    return sorted(path.parents[1] for path in ROLES.glob("*/meta/argument_specs.yml"))


if __name__ == "__main__":
    for path in roles():
        (path / "README.md").write_text(readme(path), encoding="utf-8")
