"""Expected JSON and text against what a program said."""

from __future__ import annotations

from typing import Any

import pytest

from bgpbridge.lab.matching import difference, text_difference

ALIKE: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ([{"name": "x", "n": ">= 5"}], [{"name": "y", "n": 9}, {"name": "x", "n": 5}]),
    ({"a": {"b": "~ ^est"}}, {"a": {"b": "established"}}),
    ("!= idle", "up"),
    ("< 1.5", 1),
    ([], [1]),
    (None, None),
    (True, True),
]
UNLIKE: list[tuple[Any, Any, str]] = [
    ({"a": 1}, {"b": 1}, "a is missing; there are b"),
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b is 2, expected 1"),
    ([{"name": "x", "n": 1}], [{"name": "x", "n": 2}], "[0].n is 2, expected 1"),
    ([1], [], "the list is empty"),
    ({"a": []}, {"a": {}}, "a is {}, expected a list"),
    ({"a": {}}, {"a": 1}, "a is 1, expected a mapping"),
    (">= 5", "many", "expected >= 5"),
    (">= 5", True, "expected >= 5"),
    ("> 5", 5, "it is 5, expected > 5"),
    (1, True, "it is True, expected 1"),
]


@pytest.mark.parametrize(("expected", "actual"), ALIKE)
def test_alike(expected: Any, actual: Any) -> None:
    assert difference(expected, actual) == ""


@pytest.mark.parametrize(("expected", "actual", "said"), UNLIKE)
def test_the_first_difference_is_told_with_its_path(expected: Any, actual: Any, said: str) -> None:
    assert said in difference(expected, actual)


def test_patterns_look_at_lines() -> None:
    text = "a up\nb down\n"
    assert text_difference(["^a +up$", "^b"], ["^c"], text) == ""
    assert "nothing in the output is like `^c`" in text_difference(["^c"], [], text)
    assert "`b down`, which is unwanted" in text_difference([], ["b d.*"], text)
