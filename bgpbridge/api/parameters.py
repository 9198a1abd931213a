"""The parameters of the API's rows, and how each is read from its text."""

from __future__ import annotations

from typing import Any

from bgpbridge.api.errors import RequestError
from bgpbridge.api.table import Parameter
from bgpbridge.types import Family, IPAddress, Prefix, parse_address

__all__ = [
    "ADDRESS",
    "ASN",
    "GROUP",
    "PEER_NAME",
    "PREFIX",
    "TARGET",
    "choice",
    "flag",
    "number",
    "optional",
    "read_family",
    "read_prefix",
]

TRUE, FALSE = ("1", "true"), ("0", "false")
MOST = 1 << 31
EXAMPLES = {"address": "such as 192.0.2.1 or 2001:db8::1", "prefix": "such as 192.0.2.0/24 or 2001:db8::/32"}


def read_address(text: str) -> IPAddress:
    """An address. Raises UsageError."""
    try:
        return parse_address(text)
    except ValueError:
        raise RequestError(f"`{text}` is not an IP address", mend=EXAMPLES["address"]) from None


def read_prefix(text: str) -> Prefix:
    """A prefix, or an address as its host prefix. Raises UsageError."""
    try:
        return Prefix.parse(text)
    except ValueError as error:
        raise RequestError(f"`{text}` is not a prefix: {error}", mend=EXAMPLES["prefix"]) from None


def read_family(text: str) -> Family:
    """`ipv4` or `ipv6`. Raises UsageError."""
    for family in Family:
        if text == family.label:
            return family
    raise RequestError(f"`{text}` is not an address family", mend="ipv4 or ipv6")


def read_asn(text: str) -> int:
    """An AS number, with AS in front or not; 0 for none. Raises UsageError."""
    digits = text.upper().removeprefix("AS")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= 0xFFFFFFFF):
        raise RequestError(f"`{text}` is not an AS number", mend="such as 65001 or AS65001; 0 for no origin")
    return int(digits)


def _read_group(text: str) -> int:
    """The id of a group. Raises UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))):
        raise RequestError(f"`{text}` is not the id of a group", mend="a number, as `bgpbridge groups` shows it")
    return int(text)


def _read_target(text: str) -> tuple[IPAddress, Prefix | None]:
    """An address, or a prefix with its first address."""
    if "/" not in text:
        return read_address(text), None
    prefix = read_prefix(text)
    return prefix.address, prefix


ADDRESS: Parameter[IPAddress] = Parameter(
    "address", read_address, "An IPv4 or IPv6 address", {"type": "string", "examples": ["192.0.2.1"]}, deep=True
)
PREFIX: Parameter[Prefix] = Parameter(
    "prefix", read_prefix, "A prefix, host bits zero", {"type": "string", "examples": ["192.0.2.0/24"]}, deep=True
)
ASN: Parameter[int] = Parameter("asn", read_asn, "An AS number; 0 for none", {"type": "string", "examples": ["65001"]})
TARGET: Parameter[tuple[IPAddress, Prefix | None]] = Parameter(
    "target", _read_target, "An address or a prefix", {"type": "string", "examples": ["192.0.2.0/24"]}, deep=True
)
GROUP: Parameter[int] = Parameter("group", _read_group, "The id of a group", {"type": "string", "examples": ["16"]})
PEER_NAME: Parameter[str] = Parameter("name", str, "The name of a peer", {"type": "string", "minLength": 1})


def flag(name: str, text: str) -> Parameter[bool]:
    """Yes or no in a query; no where it does not stand."""

    def read(value: str) -> bool:
        if value not in TRUE + FALSE:
            raise RequestError(f"{name}={value} is neither yes nor no", mend=f"{name}=1, or leave it out")
        return value in TRUE

    return Parameter(name, read, text, {"enum": [*FALSE, *TRUE], "type": "string", "default": "0"}, default=False)


def number(name: str, default: int, text: str, *, most: int = MOST) -> Parameter[int]:
    """A number from 0 on in a query."""

    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(most)) and int(value) <= most):
            wrong = "is too large" if value.isascii() and value.isdigit() else "is not a number from 0 on"
            expected, mend = f"a whole number from 0 to {most}", f"{name}={default}, or leave it out"
            raise RequestError(f"{name}={value} {wrong}", expected=expected, mend=mend)
        return int(value)

    schema = {"type": "integer", "minimum": 0, "maximum": most, "default": default}
    return Parameter(name, read, text, schema, default=default)


def choice(name: str, words: tuple[str, ...], text: str) -> Parameter[str | None]:
    """One of a few words in a query; None where it does not stand."""

    def read(value: str) -> str:
        if value not in words:
            raise RequestError(f"{name}={value} is not known", expected=" or ".join(words), mend=f"{name}={words[0]}")
        return value

    return Parameter(name, read, text, {"type": "string", "enum": list(words)})


def optional(name: str, read: Any, text: str, **schema: Any) -> Parameter[Any]:
    """A value in a query; None where it does not stand."""
    return Parameter(name, read, text, {"type": "string", **schema})
