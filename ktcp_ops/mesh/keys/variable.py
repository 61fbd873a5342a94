# SPDX-License-Identifier: GPL-2.0-only
"""Sets or removes one item of a variable in the text of a YAML file; all else stays as it is.

The text itself is edited, so that the operator's comments, order and quotes survive. The caller
has to read the file again and compare, since YAML has more forms than this module knows.
"""

import yaml

Item = tuple[yaml.Node, yaml.Node]


class CannotEditError(ValueError):
    """The text has a form that this module cannot edit."""


def holder(text: str, variable: str) -> yaml.MappingNode | None:
    """Find the mapping of a variable at the top level of a file; None if it is not there.

    Raises:
        CannotEditError: when the variable is there but is not a mapping.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    found = item(root, variable) if isinstance(root, yaml.MappingNode) else None
    if found is None:
        return None
    if not isinstance(found[1], yaml.MappingNode):
        raise CannotEditError(f"{variable} is not a mapping there")
    return found[1]


def item(node: yaml.MappingNode, name: str) -> Item | None:
    """Find an item of a mapping."""
    return next((pair for pair in node.value if pair[0].value == name), None)


def known(text: str, variable: str) -> yaml.MappingNode:
    """Find the mapping, which has to be there."""
    node = holder(text, variable)
    if node is None:
        raise CannotEditError(f"{variable} is not there")
    return node


def put(text: str, variable: str, name: str, value: str) -> str:
    """Set an item. A new one comes last, or first if the last item takes several lines.

    Raises:
        CannotEditError: when the variable is not a mapping in the text.
    """
    node = known(text, variable)
    found = item(node, name)
    if found:
        return spliced(text, found[1].start_mark.index, found[1].end_mark.index, value)
    if node.flow_style:
        return put_in_flow(text, node, f"{name}: {value}")
    first, last = node.value[0][0], node.value[-1][1]
    margin = " " * first.start_mark.column
    if isinstance(last, yaml.ScalarNode) and last.start_mark.line == last.end_mark.line:
        end = end_of_line(text, last.end_mark.index)
        newline = "" if text[:end].endswith("\n") else "\n"
        return spliced(text, end, end, f"{newline}{margin}{name}: {value}\n")
    start = first.start_mark.index
    return spliced(text, start, start, f"{name}: {value}\n{margin}")


def put_in_flow(text: str, node: yaml.MappingNode, added: str) -> str:
    """Add an item to a mapping in braces."""
    if not node.value:
        start = node.start_mark.index + 1
        return spliced(text, start, start, added)
    end = node.value[-1][1].end_mark.index
    return spliced(text, end, end, f", {added}")


def drop(text: str, variable: str, name: str) -> str:
    """Remove an item; comments on lines of their own stay.

    Raises:
        CannotEditError: when it is not there.
    """
    node = known(text, variable)
    found = item(node, name)
    if found is None:
        raise CannotEditError(f"{variable} has no {name} there")
    key, value = found
    if node.flow_style:
        return drop_from_flow(text, node, node.value.index(found))
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    ended = value.end_mark.index
    many = value.end_mark.column == 0 and value.end_mark.line > value.start_mark.line
    return spliced(text, start, ended if many else end_of_line(text, ended), "")


def drop_from_flow(text: str, node: yaml.MappingNode, number: int) -> str:
    """Remove an item of a mapping in braces, with one comma."""
    key, value = node.value[number]
    if number + 1 < len(node.value):
        after = node.value[number + 1][0].start_mark.index
        return spliced(text, key.start_mark.index, after, "")
    before = node.value[number - 1][1].end_mark.index if number else key.start_mark.index
    return spliced(text, before, value.end_mark.index, "")


def end_of_line(text: str, index: int) -> int:
    """Give the index at which the next line begins."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def spliced(text: str, start: int, end: int, between: str) -> str:
    """Replace a part of a text."""
    return text[:start] + between + text[end:]
