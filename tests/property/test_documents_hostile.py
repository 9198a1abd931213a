"""Whatever stands in a file, the answer is a value or a DocumentError: never a traceback."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpbridge.config import loads_config
from bgpbridge.documents import parse
from bgpbridge.errors import DocumentError
from bgpbridge.policy.parse import loads_policies

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "configs" / "bgpbridge.example.yml", *sorted((ROOT / "configs" / "policies").glob("*.yml"))]
TEXTS = [path.read_text() for path in FILES]
PIECES = [
    "",
    ":",
    " ",
    "\n",
    "\t",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    '"',
    "'",
    "#",
    "~",
    "\0",
    "|\n",
    "!!x ",
    "é",
    "1:2",
]

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8))
keys = st.one_of(
    st.sampled_from(
        ["router", "peers", "name", "asn", "sets", "prefixes", "policies", "terms", "match", "set", "then", "import"]
    ),
    scalars,
)
trees: Any = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def try_all(text: str) -> None:
    for read in (
        lambda: parse(text, "f.yml"),
        lambda: loads_config(text, ROOT / "configs" / "f.yml"),
        lambda: loads_policies([(text, "f.yml")]),
    ):
        with contextlib.suppress(DocumentError):
            read()


@given(st.sampled_from(TEXTS), st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(PIECES))
@settings(max_examples=60, deadline=None)
def test_damaged_files(text: str, at: int, cut: int, piece: str) -> None:
    at %= len(text)
    try_all(text[:at] + piece + text[at + cut :])


@given(st.sampled_from(TEXTS), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_files_cut_short(text: str, at: int) -> None:
    try_all(text[: at % len(text)])


@given(trees)
@example({"[": 0})
@example({"function-x": 0})
@example({"": 0})
@example({"peers": [{"[": 0}]})
@settings(max_examples=100, deadline=None)
def test_any_tree_of_values(tree: Any) -> None:
    try_all(yaml.safe_dump(tree, allow_unicode=True))


def replaced(value: Any, steps: list[int], new: Any) -> Any:
    """The value with one part, found by `steps`, put in its place."""
    if not steps or not isinstance(value, dict | list) or not value:
        return new
    keys_ = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys_[steps[0] % len(keys_)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], steps[1:], new)
    return copy


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 50), min_size=1, max_size=7), trees)
@settings(max_examples=80, deadline=None)
def test_any_value_in_any_place(text: str, steps: list[int], tree: Any) -> None:
    try_all(yaml.safe_dump(replaced(parse(text, "f.yml").data, steps, tree), allow_unicode=True))


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text(text: str) -> None:
    try_all(text)
