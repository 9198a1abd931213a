"""YAML as we read it: YAML 1.2's scalars, places of everything, nothing that grows or recurses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from bgpbridge.documents import Problem, Strict, did_you_mean, load, loads, parse, raise_problems, read_text
from bgpbridge.errors import DocumentError, DocumentErrors, Place


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("65000:10", "65000:10"),  # YAML 1.1 reads 3900010 here, in base 60
        ("1.10", "1.10"),  # an AS number in asdot, not 1.1
        ("no", "no"),
        ("true", True),
        ("~", None),
        ("null", None),
        ("0x10", 16),
        ("-7", -7),
        ("010", "010"),
        ("2015-10-22", "2015-10-22"),
        ("1e3", "1e3"),
        ('"12"', "12"),
        ("'null'", "null"),
        ("!!str 12", "12"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert parse(f"a: {text}\n", "f.yml").data == {"a": value}


def test_places_are_those_of_the_text() -> None:
    document = parse("a:\n  b: 1\n  c: [x, {d: 2}]\n", "f.yml")
    assert document.place(("a", "b")) == Place("f.yml", 2, 6)
    assert document.place(("a", "b"), key=True) == Place("f.yml", 2, 3)
    assert document.place(("a", "c", 1, "d")) == Place("f.yml", 3, 14)
    assert document.place(("a", "gone", 7)) == Place("f.yml", 1, 1), "what does not exist is placed at its parent"
    assert str(Place("f.yml", 3, 1)) == "f.yml:3:1"


def test_anchors_and_merges_work() -> None:
    text = "x: &base {a: 1, b: 2}\ny:\n  <<: *base\n  b: 3\nz: [*base]\n"
    document = parse(text, "f.yml")
    assert document.data["y"] == {"a": 1, "b": 3}
    assert document.data["z"] == [{"a": 1, "b": 2}]
    assert document.place(("y", "a")).line == 1, "a merged value stands where it was written"


def test_an_own_key_before_the_merge_wins_as_well() -> None:
    assert parse("x: &b {a: 1}\ny:\n  a: 2\n  <<: *b\n", "f").data["y"] == {"a": 2}


def test_an_own_key_behind_the_merge_is_no_duplicate() -> None:
    assert parse("x: &b {a: 1}\ny:\n  <<: *b\n  a: 2\n", "f").data["y"] == {"a": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yml:3:1: the key `a` stands here a second time (first in line 1)"),
        ("&a [*a]\n", "contains itself"),
        ("a: !!python/object:os.system x\n", "means nothing here"),
        ("a: !x y\n", "means nothing here"),
        ("? [a]\n: b\n", "cannot be a key"),
        ("<<: 3\n", "merges mappings only"),
        ("", "the file is empty"),
        ("---\n", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "a second YAML document"),
        ("a: @x\n", "cannot begin with this character"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text, "f.yml")
    assert says in str(caught.value)


def test_deep_nesting_does_not_recurse() -> None:
    with pytest.raises(DocumentError, match="nested deeper"):
        parse("[" * 200_000, "f.yml")


def test_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.monotonic()
    with pytest.raises(DocumentError, match="aliases grow"):
        parse("\n".join(lines), "f.yml")
    assert time.monotonic() - began < 5


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="there is no such file"):
        read_text(tmp_path / "gone.yml")
    with pytest.raises(DocumentError, match="cannot be read: is a directory"):
        read_text(tmp_path)
    (tmp_path / "latin.yml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(DocumentError, match=r"latin.yml:2: is not UTF-8 text"):
        read_text(tmp_path / "latin.yml")


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "bom.yml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert parse(read_text(tmp_path / "bom.yml"), "bom.yml").data == {"a": 1}


class Inner(Strict):
    synonyms: ClassVar[dict[str, str]] = {"colour": "hue"}
    hue: int = Field(ge=0, le=359, examples=[240])
    """The hue in degrees."""
    token: str | None = None


class Outer(Strict):
    name: str
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)


def test_load_gives_the_model(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("name: x\ninner: {hue: 3}\n")
    assert load(tmp_path / "f.yml", Outer) == Outer(name="x", inner=Inner(hue=3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\ninner: {hue: 400}\n", "f.yml:2:14: inner.hue is `400`\n  expected: at most 359"),
        ("name: x\ninner: {colour: 4}\n", "f.yml:2:9: unknown key `colour` in inner\n  mend: did you mean `hue`?"),
        (
            "name: x\ninner: {}\n",
            "the key `hue` is missing in inner\n  expected: The hue in degrees\n  mend: add `hue: 240`",
        ),
        ("name: 7\n", "f.yml:1:7: name is `7`\n  expected: text\n  mend: put it in quotes"),
        ("name: x\ninners: {hue: 1}\n", "inners is a mapping\n  expected: a list"),
        ("name: x\nby_name: {a: {hew: 1}}\n", "unknown key `hew` in by_name.a\n  mend: did you mean `hue`?"),
        ("name: x\ninner: {hue: 1, token: [s3cret]}\n", "inner.token is a list\n  expected: text"),
        ("name: x\ninner: {hue: 1, token: 7734}\n", "inner.token is a value (not shown: it may be a secret)"),
        ("name:\n", "`name` has no value"),
    ],
)
def test_problems_in_an_operators_words(text: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loads(text, "f.yml", Outer)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "7734" not in str(caught.value)


def test_all_problems_are_raised_together_in_the_order_of_lines() -> None:
    with pytest.raises(DocumentErrors) as caught:
        loads("by_name: {a: {hue: x}}\nnome: 1\ninner: {hue: -1}\n", "f.yml", Outer)
    assert [error.place.line for error in caught.value.errors] == [1, 2, 3]
    assert str(caught.value).endswith("3 errors in all")
    assert caught.value.what == str(caught.value)  # what the API passes on leaves none out


def test_at_most_twenty_are_written_out() -> None:
    document = parse("a: 1\n", "f.yml")
    with pytest.raises(DocumentErrors) as caught:
        raise_problems(document, [Problem(("a",), f"number {n}") for n in range(30)])
    assert str(caught.value).endswith("... and 10 more, 30 errors in all")
    assert len(caught.value.errors) == 30


def test_did_you_mean_looks_past_dashes_and_case() -> None:
    assert did_you_mean("Hold-Time", ["hold_time_s", "port"]) == "hold_time_s"
    assert did_you_mean("quite-another", ["hold_time_s", "port"]) == ""
