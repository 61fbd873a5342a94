# SPDX-License-Identifier: GPL-2.0-only
"""The single values of a mesh description: ports, marks, prefixes, keys, switches.

Each parser takes what YAML or a template may give (``80`` or ``"80"``) and raises
ValueError with what is wrong and how to put it right, as the second half of a sentence.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Integer:
    """Parser of whole numbers from ``low`` to ``high``, decimal or 0x."""

    low: int
    high: int

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Have pydantic parse before it looks at the type."""
        return no_info_before_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the number, and the text that stands for one."""
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "pattern": r"^(\d+|0[xX][0-9a-fA-F]+)$"}]}

    def __call__(self, value: object) -> int:
        """Parse a number."""
        number = value
        if isinstance(value, str) and re.fullmatch(r"\s*(\d+|0[xX][0-9a-fA-F]+)\s*", value):
            number = int(value, 16 if "x" in value.lower() else 10)
        # Python takes True for the number 1; the author of the file did not mean that.
        match number:
            case int() if not isinstance(number, bool) and self.low <= number <= self.high:
                return number
        raise ValueError(f"{value!r} is not {self}; write one")

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


def milliseconds(value: object) -> float:
    """Parse a round-trip time."""
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number <= 60_000:
        raise ValueError(f"{value!r} is not a round-trip time; write milliseconds up to 60000")
    return number


def switch(value: object) -> bool:
    """Parse ``on`` or ``off``, which YAML reads as true and false."""
    words = {"on": True, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError(f"{value!r} is not a switch; write on or off")


def name(value: object) -> str:
    """Parse the name of a host, a group or a path."""
    if not isinstance(value, str) or not re.fullmatch(r"\S+", value):
        raise ValueError(f"{value!r} is not a name; write one word")
    return value


def pair(value: object) -> tuple[str, str]:
    """Parse two names of relays."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{value!r} is not a pair; write two relays like [a, b]")
    return name(value[0]), name(value[1])


def prefix(value: object) -> Network:
    """Parse an IPv4 or IPv6 prefix; a bare address is the prefix of that one address."""
    text = value if isinstance(value, str) else ""
    try:
        correct = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{value!r} is not a prefix; write one like 203.0.113.0/24 or 2001:db8::/48"
        ) from None
    if ip_network(text.partition("/")[0]).network_address != correct.network_address:
        raise ValueError(f"{value!r} has bits set beyond its length; write {correct}")
    return correct


def address4(value: object) -> IPv4Address:
    """Parse an IPv4 address."""
    parsed = address(value)
    if isinstance(parsed, IPv4Address):
        return parsed
    raise ValueError(f"{value!r} is an IPv6 address; set ktcp_address6 to it instead")


def address6(value: object) -> IPv6Address:
    """Parse an IPv6 address."""
    parsed = address(value)
    if isinstance(parsed, IPv6Address):
        return parsed
    raise ValueError(f"{value!r} is an IPv4 address; set ktcp_address to it instead")


def address(value: object) -> IPv4Address | IPv6Address:
    """Parse an address that other hosts can reach."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        parsed = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an address; write one like 203.0.113.5") from None
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        raise ValueError(
            f"{value!r} cannot be reached by other relays; "
            "write an address that is routed between the relays"
        )
    return parsed


def literal_address(value: object) -> object:
    """Parse an address that other hosts can reach; None for a name or any other address."""
    try:
        return address(value)
    except ValueError:
        return None


def key(value: object) -> str:
    """Parse a pre-shared key: 32 bytes as 64 hex digits. Messages never repeat it."""
    advice = "make one with `openssl rand -hex 32`"
    text = value if isinstance(value, str) else ""
    if text == "":
        raise ValueError(f"is not a text of 64 hex digits in quotes; {advice}")
    if len(text) != 64:
        raise ValueError(f"has {len(text)} characters instead of 64 hex digits; {advice}")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError(f"has characters that are not hex digits; {advice}")
    if len(set(bytes.fromhex(text))) == 1:
        raise ValueError(f"repeats a single byte, which anybody can guess; {advice}")
    return text.lower()


@dataclass(frozen=True, order=True)
class PortRange:
    """TCP ports from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def slots(self) -> int:
        """How many of the 15 places of an iptables multiport match it takes."""
        return 1 if self.first == self.last else 2

    def spell(self, separator: str) -> str:
        """Write the range, ``80`` or ``8000-8100``."""
        return str(self.first) if self.first == self.last else f"{self.first}{separator}{self.last}"

    def __str__(self) -> str:
        return self.spell("-")


ALL_PORTS = PortRange(1, 65535)


def port_range(value: object) -> PortRange:
    """Parse ``80`` or ``"8000-8100"``."""
    if isinstance(value, PortRange):
        return value
    found = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", str(value))
    if isinstance(value, bool) or not found:
        raise ValueError(f"{value!r} is not a port; write one like 443, or a range like 8000-8100")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"{value!r} is not a range of ports; write low-high within 1-65535")
    return PortRange(first, last)


def ports(value: object) -> tuple[PortRange, ...]:
    """Parse one port or range, or a list of them; overlapping ones are merged."""
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("is an empty list; leave it out to mean all ports")
    merged: list[PortRange] = []
    for item in sorted(port_range(item) for item in items):
        if merged and item.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, item.last))
        else:
            merged.append(item)
    return tuple(merged)


@dataclass(frozen=True)
class Endpoint:
    """An address and a TCP port."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


def endpoint(value: object) -> Endpoint:
    """Parse ``203.0.113.5:443`` or ``[2001:db8::5]:443``."""
    if isinstance(value, Endpoint):
        return value
    advice = "write one like 203.0.113.5:443 or [2001:db8::5]:443"
    found = re.fullmatch(r"(?:\[([^]]*:[^]]*)\]|([^:\[\]]*)):(\d{1,5})", str(value))
    try:
        parsed = ip_address((found[1] or found[2]) if found else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an address and a port; {advice}") from None
    port = int(found[3]) if found else 0
    if not 1 <= port <= 65535:
        raise ValueError(f"{value!r} has no port within 1-65535; {advice}")
    return Endpoint(parsed, port)


def interface(value: object) -> str:
    """Parse the name of a network interface, as the kernel allows it."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._@-]{1,15}", value):
        return value
    raise ValueError(f"{value!r} is not the name of an interface; write one like eth1")


def probe_url(value: object) -> str:
    """Parse the URL of a probe: plain http to a literal address, so that no name server matters."""
    advice = "write one like http://203.0.113.5:8080/index.html"
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        valid = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
        ip_address(parts.hostname or "")
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{value!r} is not an http URL with a literal address; {advice}")
    return str(value)


TEXT = {"type": "string"}
PORT_RANGE = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": r"^\s*\d+(\s*-\s*\d+)?\s*$"},
    ]
}

Port = Annotated[int, Integer(1, 65535)]
Mark = Annotated[int, Integer(1, 0x7FFFFFFF)]
KeyId = Annotated[int, Integer(1, 65535)]
Switch = Annotated[
    bool,
    BeforeValidator(switch),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["on", "off"]}]}),
]
Milliseconds = Annotated[
    float,
    BeforeValidator(milliseconds),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 60_000}),
]
Name = Annotated[str, BeforeValidator(name), WithJsonSchema({**TEXT, "pattern": r"^\S+$"})]
Pair = Annotated[
    tuple[str, str],
    BeforeValidator(pair),
    WithJsonSchema({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}),
]
Prefix = Annotated[
    Network,
    BeforeValidator(prefix),
    WithJsonSchema({**TEXT, "pattern": r"^[0-9a-fA-F.:]+(/\d{1,3})?$"}),
]
Address = Annotated[
    IPv4Address | IPv6Address,
    BeforeValidator(address),
    WithJsonSchema({**TEXT, "pattern": r"^[0-9a-fA-F.:]+$"}),
]
Address4 = Annotated[IPv4Address, BeforeValidator(address4)]
Address6 = Annotated[IPv6Address, BeforeValidator(address6)]
Target = Annotated[
    Endpoint,
    BeforeValidator(endpoint),
    WithJsonSchema({**TEXT, "pattern": r"^([0-9.]+|\[[0-9a-fA-F.:]+\]):\d{1,5}$"}),
]
Interface = Annotated[str, BeforeValidator(interface)]
Key = Annotated[str, BeforeValidator(key)]
Ports = Annotated[
    tuple[PortRange, ...],
    BeforeValidator(ports),
    WithJsonSchema(
        {"anyOf": [*PORT_RANGE["anyOf"], {"type": "array", "items": PORT_RANGE, "minItems": 1}]}
    ),
]
ProbeUrl = Annotated[
    str, BeforeValidator(probe_url), WithJsonSchema({**TEXT, "pattern": "^http://"})
]
