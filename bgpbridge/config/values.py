"""The kinds of value that configuration keys hold, each with a parser that says what it expected.

A kind is an `Annotated` type: pydantic calls our parser, writes the value back as the operator wrote it, and
shows editors a JSON schema for it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from bgpbridge.documents import did_you_mean, refuse
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = [
    "Address",
    "Asn",
    "Families",
    "FilePath",
    "InterfaceName",
    "ListenAddress",
    "Name",
    "Port",
    "PrefixText",
    "RouterId",
    "family_of",
    "parse_asn",
]

ASN_EXPECTED = "an AS number from 1 to 4294967294, such as 65001"
AS_TRANS = 23456  # RFC 6793 s9: stands for a wide number in old sessions, nobody's own


def _quoted(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str | int) else "nothing" if value is None else "a list or mapping"


def parse_asn(value: Any) -> int:
    """`65001`, `AS65001` or `1.10` (RFC 5396 asdot)."""
    text = str(value).strip().upper().removeprefix("AS")
    dotted = re.fullmatch(r"(\d{1,5})\.(\d{1,5})", text)
    number = int(dotted[1]) * 65536 + int(dotted[2]) if dotted else int(text) if re.fullmatch(r"\d{1,10}", text) else 0
    if isinstance(value, bool) or not 0 < number < 0xFFFFFFFF or (dotted and int(dotted[2]) > 0xFFFF):
        raise refuse(f"{_quoted(value)} is not an AS number", ASN_EXPECTED)
    if number == AS_TRANS:
        raise refuse(f"{_quoted(value)} is AS_TRANS, which nobody owns (RFC 6793 s9)", ASN_EXPECTED)
    return number


def _parse_address(value: Any) -> IPAddress:
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None:
        mend = "leave out the length behind the `/`" if isinstance(value, str) and "/" in value else ""
        raise refuse(f"{_quoted(value)} is not an IP address", "such as 192.0.2.1 or 2001:db8::1", mend)
    if address.is_unspecified or address.is_multicast:
        raise refuse(f"{_quoted(value)} is not the address of one host", "such as 192.0.2.1 or 2001:db8::1")
    return address


def _parse_router_id(value: Any) -> ipaddress.IPv4Address:
    try:
        router_id = ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise refuse(f"{_quoted(value)} is not a BGP Identifier", "four octets such as 192.0.2.1") from None
    if not int(router_id):
        raise refuse("0.0.0.0 is no BGP Identifier (RFC 6286 s2.1)", "four octets such as 192.0.2.1")
    return router_id


def _parse_prefix(value: Any) -> Prefix:
    try:
        return Prefix.parse(value if isinstance(value, str) else "")
    except ValueError:
        pass
    try:
        mend = f"did you mean {ipaddress.ip_network(value, strict=False)}?"
    except ValueError:
        mend = ""
    raise refuse(f"{_quoted(value)} is not a prefix", "such as 192.0.2.0/24 or 2001:db8::/32, host bits zero", mend)


def family_of(value: Any) -> Family:
    """`ipv4` or `ipv6`."""
    if isinstance(value, Family):
        return value
    for family in Family:
        if value == family.label:
            return family
    meant = {"4": "ipv4", "6": "ipv6", "inet": "ipv4", "inet6": "ipv6"}.get(str(value), "")
    meant = meant or did_you_mean(str(value), ["ipv4", "ipv6"])
    raise refuse(
        f"{_quoted(value)} is not an address family", "`ipv4` or `ipv6`", f"did you mean `{meant}`?" if meant else ""
    )


def _parse_families(value: Any) -> tuple[Family, ...]:
    if not isinstance(value, list | tuple):
        raise refuse(f"{_quoted(value)} is not a list", "a list such as [ipv4, ipv6]", f"write [{value}]")
    return tuple(sorted({family_of(item) for item in value}))


def _parse_path(value: Any, info: ValidationInfo) -> Path:
    """Relative paths count from the folder of the file that they stand in."""
    if not isinstance(value, str | Path) or not str(value):
        raise refuse("this is not a path", "the path of a file, such as policies/transit.yml")
    folder = (info.context or {}).get("folder", Path())
    return Path(folder, value)


def _parse_listen(value: Any) -> str:
    """An address of this machine, unspecified ones included; it stays a text for whoever binds it."""
    try:
        return str(ipaddress.ip_address(value)) if value != "localhost" else "127.0.0.1"
    except ValueError:
        raise refuse(f"{_quoted(value)} is not an IP address", "127.0.0.1, ::1 or an address of ours") from None


def _parse_interface(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\s/:]{1,15}", value):
        raise refuse(f"{_quoted(value)} is not an interface name", "such as eth0, or a glob such as `swp*`")
    return value


def _parse_name(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", text):
        raise refuse(f"{_quoted(value)} is not a name", "letters, digits, `-`, `_` and `.`, at most 63, no blanks")
    return text


def _kind(parse: Callable[..., Any], **schema: Any) -> tuple[Any, Any, Any]:
    return PlainValidator(parse), PlainSerializer(str, when_used="json"), WithJsonSchema(schema)


Asn = Annotated[int, BeforeValidator(parse_asn), WithJsonSchema({"type": ["integer", "string"], "examples": [65001]})]
Address = Annotated[IPAddress, *_kind(_parse_address, type="string", examples=["192.0.2.1", "2001:db8::1"])]
RouterId = Annotated[ipaddress.IPv4Address, *_kind(_parse_router_id, type="string", format="ipv4")]
PrefixText = Annotated[Prefix, *_kind(_parse_prefix, type="string", examples=["192.0.2.0/24", "2001:db8::/32"])]
Families = Annotated[
    tuple[Family, ...],
    PlainValidator(_parse_families),
    PlainSerializer(lambda families: [family.label for family in families], when_used="json"),
    WithJsonSchema({"type": "array", "items": {"enum": ["ipv4", "ipv6"]}, "uniqueItems": True}),
]
FilePath = Annotated[Path, *_kind(_parse_path, type="string")]
InterfaceName = Annotated[str, *_kind(_parse_interface, type="string", examples=["eth0", "swp*"])]
ListenAddress = Annotated[str, *_kind(_parse_listen, type="string", examples=["127.0.0.1", "::1"])]
Name = Annotated[str, *_kind(_parse_name, type="string", pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
