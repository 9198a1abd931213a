"""PyYAML's complaints in an operator's words: what is wrong on which line, and what to type instead.

The parser notices a mistake where it can no longer go on, often a line after the place where a person has to
mend something; where PyYAML knows the beginning of the broken piece, that is the place we name.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml

from bgpbridge.errors import DocumentError, Place

__all__ = ["explain"]


class _Saying(NamedTuple):
    """When PyYAML says `context` and `problem` (parts of them), we say this, at the start or the end."""

    context: str
    problem: str
    words: str
    mend: str
    at_start: bool = False


_SAYINGS = (
    _Saying("", "'\\t' that cannot start", "a tab stands where only spaces may", "indent with spaces, two a level"),
    _Saying(
        "quoted scalar",
        "end of stream",
        "the quoted text that begins here never ends",
        "close the quote (was the file cut short?)",
        at_start=True,
    ),
    _Saying("quoted scalar", "escape", "an unknown escape in double quotes", "use single quotes for text as it stands"),
    _Saying("flow sequence", "", "the list `[` that begins here is not closed", "close it with `]`", at_start=True),
    _Saying("flow mapping", "", "the mapping `{` that begins here is not closed", "close it with `}`", at_start=True),
    _Saying("flow node", "", "a bracket is opened here, but nothing follows", "close it (was the file cut short?)"),
    _Saying(
        "",
        "mapping values are not allowed",
        "a second `:` on this line, or a wrong indent",
        "put the text in quotes if the colon is part of it; keys of one mapping begin in the same column",
    ),
    _Saying(
        "simple key",
        "could not find expected ':'",
        "a word stands here that is neither `key: value` nor `- item`",
        "add the `:` and its value (was the file cut short?)",
        at_start=True,
    ),
    _Saying(
        "block",
        "expected <block end>",
        "this line's indent fits nothing above it",
        "keys of one mapping, and the dashes of one list, begin in the same column",
    ),
    _Saying("alias", "expected alphabetic", "a text that begins with `*` needs quotes", 'write it as "*..."', True),
    _Saying("anchor", "expected alphabetic", "a text that begins with `&` needs quotes", 'write it as "&..."', True),
    _Saying("", "that cannot start any token", "a text cannot begin with this character", "put it in quotes"),
)


def explain(error: yaml.YAMLError, text: str, file: str) -> DocumentError:
    """The error to raise for what PyYAML says of `text`. Never quotes the text: it may hold a secret."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        problem = f"holds a character that text files do not have (code {_code(error.character):#x})"
        return DocumentError(Place(file, line), problem, mend="is this the right file? Remove the character")
    assert isinstance(error, yaml.MarkedYAMLError)
    context, problem = error.context or "", error.problem or ""
    for saying in _SAYINGS:
        if saying.context in context and saying.problem in problem:
            mark = error.context_mark if saying.at_start and error.context_mark else error.problem_mark
            return DocumentError(_place(mark, file), saying.words, mend=saying.mend)
    return DocumentError(_place(error.problem_mark, file), problem or "this is not YAML")


def _code(character: int | str | bytes) -> int:
    return character if isinstance(character, int) else ord(character[:1])


def _place(mark: yaml.Mark | None, file: str) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
