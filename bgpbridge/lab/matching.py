"""Does what a program said look as expected? Pure: values in, the first difference out.

Expected JSON is a pattern that the answer must contain: keys that it does not name may hold anything, each
element of an expected list must be like some element of the answer's list. Text that begins with an operator
(`>= 100`, `< 5`, `!= idle`) compares, `~ word` searches for a regular expression; all else must be equal.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["difference", "text_difference"]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"(>=|<=|!=|>|<|~)\s+(.*)", re.DOTALL)


def difference(expected: Any, actual: Any, path: str = "") -> str:
    """Where `actual` is not like `expected`, in words; an empty string when it is."""
    if isinstance(expected, dict):
        return _mapping(expected, actual, path)
    if isinstance(expected, list):
        return _list(expected, actual, path)
    if isinstance(expected, str) and (found := _COMPARISON.fullmatch(expected)):
        return _compare(found[1], found[2], actual, path)
    if expected == actual and isinstance(expected, bool) == isinstance(actual, bool):
        return ""
    return f"{path or 'it'} is {_shown(actual)}, expected {_shown(expected)}"


def _mapping(expected: dict[str, Any], actual: Any, path: str) -> str:
    if not isinstance(actual, dict):
        return f"{path or 'it'} is {_shown(actual)}, expected a mapping"
    for key, wanted in expected.items():
        here = f"{path}.{key}" if path else key
        if key not in actual:
            return f"{here} is missing; there are {', '.join(map(str, actual)) or 'no keys'}"
        if said := difference(wanted, actual[key], here):
            return said
    return ""


def _list(expected: list[Any], actual: Any, path: str) -> str:
    if not isinstance(actual, list):
        return f"{path or 'it'} is {_shown(actual)}, expected a list"
    for wanted in expected:
        said = [difference(wanted, item, f"{path}[{index}]") for index, item in enumerate(actual)]
        if all(said):
            # The nearest miss says most: the element that differs last.
            near = max(said, key=lambda text: text.count("."), default="the list is empty")
            return f"{path or 'the list'} has nothing like {_shown(wanted)}: {near}"
    return ""


def _compare(sign: str, operand: str, actual: Any, path: str) -> str:
    said = f"{path or 'it'} is {_shown(actual)}, expected {sign} {operand}"
    if sign == "~":
        return "" if isinstance(actual, str) and re.search(operand, actual) else said
    if sign == "!=":
        return "" if str(actual) != operand else said
    if isinstance(actual, bool) or not isinstance(actual, int | float):
        return said
    return "" if _OPERATORS[sign](actual, float(operand)) else said


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def text_difference(patterns: Sequence[str], unwanted: Sequence[str], text: str) -> str:
    """The first pattern that is not found in `text`, or the first unwanted one that is."""
    for pattern in patterns:
        if not re.search(pattern, text, re.MULTILINE):
            return f"nothing in the output is like `{pattern}`"
    for pattern in unwanted:
        if found := re.search(pattern, text, re.MULTILINE):
            return f"the output has `{found[0]}`, which is unwanted"
    return ""
