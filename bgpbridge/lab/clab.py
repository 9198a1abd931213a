"""A containerlab file as it is written: keys, types, and nothing about what they mean here.

Every key that containerlab's schema allows in a node is known; those that mean nothing in a network
namespace (licence, CPU limits, management addresses and the like) are taken and passed over. What the
file says about nodes that inherit from `defaults`, `kinds` and `groups` is put together in `topology`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bgpbridge.documents import Document, Problem, did_you_mean, parse, raise_problems, read_text, validate

__all__ = ["Endpoint", "File", "Link", "NodeKeys", "TopologyKeys", "read"]

_PASSED_OVER = """
    aliases auto-remove cap-add certificate cgroup-parent cgroupns-mode cmd components config cpu cpu-set
    credentials devices dns enforce-startup-config entrypoint env-files extras healthcheck hostname
    image-pull-policy license link-apply-mode memory mgmt-ipv4 mgmt-ipv6 pid-mode ports privileged
    restart-policy runtime security-opts shm-size stages startup-config startup-delay suppress-startup-config
    tmpfs type user volumes
"""


def _scalar_text(value: Any) -> Any:
    """Environment, labels and sysctls may be numbers and booleans; a container sees text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_scalar_text)]


class Keys(BaseModel):
    """The base of containerlab's mappings: unknown keys are found by `read`, which knows the whole file."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, hide_input_in_errors=True)
    passed_over: ClassVar[frozenset[str]] = frozenset()


class NodeKeys(Keys):
    """What a node, a group, a kind or the defaults may say."""

    kind: str | None = None
    image: str | None = None
    group: str | None = None
    binds: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()
    env: dict[str, Text] = {}
    labels: dict[str, Text] = {}
    sysctls: dict[str, Text] = {}
    network_mode: str | None = Field(default=None, alias="network-mode")
    passed_over = frozenset(_PASSED_OVER.split())


class Endpoint(Keys):
    """One end of a link in the extended form."""

    node: str
    interface: str
    mac: str | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    passed_over = frozenset({"vars"})


class Link(Keys):
    """A link: `endpoints` short (`node:interface`) or extended; other types than veth have `endpoint`."""

    type: str = "veth"
    endpoints: tuple[str | Endpoint, ...] = ()
    endpoint: Any = None
    mtu: int = Field(default=1500, ge=68, le=65535)
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    passed_over = frozenset({"labels", "vars", "host-interface", "mode", "remote", "vni", "dst-port", "src-port"})


class TopologyKeys(Keys):
    """The part below `topology`."""

    nodes: dict[str, NodeKeys | None]
    links: tuple[Link, ...] = ()
    defaults: NodeKeys = NodeKeys()
    kinds: dict[str, NodeKeys] = {}
    groups: dict[str, NodeKeys] = {}


class File(Keys):
    """The whole file."""

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-._]*$")
    topology: TopologyKeys
    prefix: str | None = None
    passed_over = frozenset({"mgmt", "settings", "debug"})


def read(path: Path) -> tuple[File, Document]:
    """The file, and the document that knows where everything stands in it. Raises DocumentError."""
    document = parse(read_text(path), str(path))
    file, problems = validate(document.data, File)
    raise_problems(document, problems)
    assert file is not None
    raise_problems(document, _unknown(file, ()))
    return file, document


def _unknown(value: Any, path: tuple[str | int, ...]) -> list[Problem]:
    """Keys that containerlab does not know, in the whole tree."""
    if isinstance(value, Keys):
        found = [_complaint(word, value, path) for word in value.model_extra or () if word not in value.passed_over]
        return found + [p for name in type(value).model_fields for p in _unknown(getattr(value, name), (*path, name))]
    if isinstance(value, dict):
        return [p for name, child in value.items() for p in _unknown(child, (*path, name))]
    if isinstance(value, tuple):
        return [p for index, child in enumerate(value) for p in _unknown(child, (*path, index))]
    return []


def _complaint(word: str, owner: Keys, path: tuple[str | int, ...]) -> Problem:
    known = sorted({*type(owner).model_fields, *owner.passed_over})
    meant = did_you_mean(word, known)
    mend = f"did you mean `{meant}`?" if meant else "remove it"
    where = ".".join(map(str, path)) or "the file"
    return Problem((*path, word), f"containerlab knows no key `{word}` in {where}", "", mend, at_key=True)
