"""YAML text to plain values (dict, list, str, int, bool, None) that remember where they stood.

The tree is put together from PyYAML's events rather than by its loaders, because those recurse (deep nesting
overflows libyaml's stack), let a second key of the same name win, and read YAML 1.1, in which `65000:10` is
the number 3900010 in base 60, `1.10` a fraction and `no` a boolean. Here scalars are as in YAML 1.2: null,
true, false, whole numbers, and text for all else. `<<: *anchor` merges, as people expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from bgpbridge.documents import syntax
from bgpbridge.errors import DocumentError, Place

__all__ = ["Document", "Node", "parse"]

MAX_DEPTH = 64
MAX_NODES = 2_000_000  # after aliases are written out: keeps a "billion laughs" file from growing

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_CORE = "tag:yaml.org,2002:"

Step = str | int


@dataclass(slots=True)
class Node:
    """One value with its line and column (from 1). `keys` holds the places of a mapping's keys."""

    data: Any
    line: int
    column: int
    children: dict[Any, Node] | list[Node] | None = None
    keys: dict[Any, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    blank: bool = False  # nothing was written, not even `null`

    def child(self, step: Step) -> Node | None:
        """The value under a key or index, None where there is none."""
        if isinstance(self.children, dict):
            return self.children.get(step)
        if isinstance(self.children, list) and isinstance(step, int) and -1 < step < len(self.children):
            return self.children[step]
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `data` are plain values, `place` finds where one of them stands."""

    file: str
    root: Node

    @property
    def data(self) -> Any:
        """The whole as dicts, lists and scalars."""
        return self.root.data

    def place(self, path: Sequence[Step] = (), *, key: bool = False) -> Place:
        """The place of the value at `path`, or (`key`) of its key. Steps that do not exist are passed over,
        so a missing key is placed at its parent."""
        node, line, column = self.root, self.root.line, self.root.column
        for step in path:
            child = node.child(step)
            if child is None:
                continue
            line, column = (child.line, child.column)
            if step in node.keys and (key or isinstance(child.children, dict | list) or child.data is None):
                line, column = node.keys[step]
            node = child
        return Place(self.file, line, column)

    def blanks(self) -> Iterator[tuple[Step, ...]]:
        """Paths of keys and list items behind which nothing is written."""
        open_: list[tuple[tuple[Step, ...], Node]] = [((), self.root)]
        while open_:
            path, node = open_.pop()
            if node.blank:
                yield path
            children = node.children.items() if isinstance(node.children, dict) else enumerate(node.children or ())
            open_ += [((*path, step), child) for step, child in children]

    def has(self, path: Sequence[Step]) -> bool:
        """True when every step of `path` stands in the file."""
        node: Node | None = self.root
        for step in path:
            node = node.child(step) if node else None
        return node is not None


def parse(text: str, file: str) -> Document:
    """The text as a tree of values. Raises DocumentError for what is not YAML, for duplicate keys, and for
    a file without content."""
    try:
        nodes = _documents(text, file, yaml.CLoader if yaml.__with_libyaml__ else yaml.Loader)
    except yaml.YAMLError:
        nodes = _phrased(text, file)
    if not nodes or nodes[0].data is None:
        raise DocumentError(
            Place(file), "the file is empty", expected="YAML keys and values", mend="was it cut short while saving?"
        )
    if len(nodes) > 1:
        place = Place(file, nodes[1].line, nodes[1].column)
        raise DocumentError(place, "a second YAML document begins here", mend="remove the `---` line between them")
    return Document(file, nodes[0])


def _phrased(text: str, file: str) -> list[Node]:
    """The same by PyYAML's own parser, whose complaints do not depend on libyaml's version."""
    try:
        return _documents(text, file, yaml.Loader)
    except yaml.YAMLError as error:
        raise syntax.explain(error, text, file) from None


def _documents(text: str, file: str, loader: Any) -> list[Node]:
    events = yaml.parse(text, Loader=loader)
    return _Composer(file).compose(events)


class _Composer:
    """Events to nodes with an explicit stack: no recursion, whatever the file holds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node | None] = {}
        self.open: list[tuple[Node, str | None]] = []
        self.pending: list[Node | None] = []  # the key that waits for its value, per open collection
        self.roots: list[Node] = []

    def compose(self, events: Iterator[yaml.Event]) -> list[Node]:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                node, anchor = self.open.pop()
                self.pending.pop()
                self._add(node, anchor)
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._aliased(event), None)
        return self.roots

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        line, column = _begin(event)
        self._check_tag(event)
        if len(self.open) >= MAX_DEPTH:
            raise self._error(line, column, f"is nested deeper than {MAX_DEPTH} levels", "fewer brackets")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.open.append((Node({} if mapping else [], line, column, {} if mapping else []), event.anchor))
        self.pending.append(None)
        if event.anchor:
            self.anchors[event.anchor] = None

    def _aliased(self, event: yaml.AliasEvent) -> Node:
        line, column = _begin(event)
        target = self.anchors.get(event.anchor or "")
        if target is None:
            known = event.anchor in self.anchors
            problem = f"`*{event.anchor}` " + ("contains itself" if known else "names an anchor that does not exist")
            mend = f"define `&{event.anchor}` above, or put the text in quotes if the star is meant as itself"
            raise self._error(line, column, problem, "" if known else mend)
        return target

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        self._check_tag(event)
        line, column = _begin(event)
        text = event.tag in (f"{_CORE}str", "!") or not (event.implicit[0] or event.tag)
        return Node(event.value if text else _value(event.value), line, column, blank=not text and not event.value)

    def _check_tag(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag and tag != "!" and tag.removeprefix(_CORE) not in ("str", "int", "bool", "null", "map", "seq"):
            line, column = _begin(event)
            problem = f"the tag `{tag.replace(_CORE, '!!')}` means nothing here"
            raise self._error(line, column, problem, "remove it, or put the text in quotes")

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.open:
            self.roots.append(node)
            return
        parent = self.open[-1][0]
        if isinstance(parent.children, list):
            parent.children.append(node)
            parent.data.append(node.data)
            self._grow(parent, node)
        elif self.pending[-1] is None:
            self.pending[-1] = node
        else:
            key, self.pending[-1] = self.pending[-1], None
            self._put(parent, key, node)

    def _grow(self, parent: Node, node: Node) -> None:
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise self._error(node.line, node.column, f"aliases grow to more than {MAX_NODES:,} values", "")

    def _put(self, parent: Node, key: Node, node: Node) -> None:
        assert isinstance(parent.children, dict)
        name = key.data
        if isinstance(key.children, dict | list):
            raise self._error(key.line, key.column, "a list or mapping cannot be a key", "put `{{ }}` text in quotes")
        if name == "<<":
            self._merge(parent, node)
            return
        if name in parent.keys:
            first = parent.keys[name][0]
            problem = f"the key `{name}` stands here a second time (first in line {first})"
            raise self._error(key.line, key.column, problem, "keep one of the two")
        if name is None:
            raise self._error(key.line, key.column, "a value without a key", "write `key: value`")
        parent.children[name] = node
        parent.data[name] = node.data
        parent.keys[name] = (key.line, key.column)
        self._grow(parent, node)

    def _merge(self, parent: Node, node: Node) -> None:
        """`<<`: keys of the named mapping (or mappings) that do not stand here themselves."""
        assert isinstance(parent.children, dict)
        sources = node.children if isinstance(node.children, list) else [node]
        for source in sources:
            if not isinstance(source.children, dict):
                raise self._error(node.line, node.column, "`<<` merges mappings only", "write `<<: *anchor`")
            for name, child in source.children.items():
                if name not in parent.children:
                    parent.children[name], parent.data[name] = child, child.data
                    self._grow(parent, child)

    def _error(self, line: int, column: int, problem: str, mend: str) -> DocumentError:
        return DocumentError(Place(self.file, line, column), problem, mend=mend)


def _begin(event: yaml.Event) -> tuple[int, int]:
    """Line and column, from 1, where an event's text begins."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _value(text: str) -> str | int | bool | None:
    """A plain scalar as YAML 1.2's core schema reads it, but for fractions, which stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if not _INTEGER.fullmatch(text) or len(text) > 40:
        return text
    return int(text, 0)
