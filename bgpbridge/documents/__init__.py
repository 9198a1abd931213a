"""YAML files of ours, read so that every complaint names file, line and column, and says how to mend it.

Configuration, policy, overrides, labs' expect files: all go through `load`. Three steps, a module each:
`tree` turns YAML text into plain values that remember their places, `syntax` puts PyYAML's complaints into
an operator's words, `schema` holds the values against a pydantic model and does the same with its errors.
All problems of a file are reported together. Values under a key that names a secret are never printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from bgpbridge.documents.files import read_octets, read_text
from bgpbridge.documents.schema import (
    Problem,
    Strict,
    blank_values,
    did_you_mean,
    errors_of,
    known_keys,
    raise_errors,
    raise_problems,
    refuse,
    validate,
)
from bgpbridge.documents.tree import Document, parse

__all__ = [
    "Document",
    "Problem",
    "Strict",
    "blank_values",
    "did_you_mean",
    "errors_of",
    "known_keys",
    "load",
    "loads",
    "parse",
    "raise_errors",
    "raise_problems",
    "read_octets",
    "read_text",
    "refuse",
    "validate",
]

M = TypeVar("M", bound=BaseModel)


def load(path: Path, model: type[M]) -> M:
    """The file as an instance of `model`. Raises DocumentError."""
    return loads(read_text(path), str(path), model)


def loads(text: str, file: str, model: type[M]) -> M:
    """The text as an instance of `model`; `file` is the name that complaints give. Raises DocumentError."""
    document = parse(text, file)
    instance, problems = validate(document.data, model)
    raise_problems(document, blank_values(document) or problems)
    assert instance is not None
    return instance
