"""Docstrings behind a model's keys are in its JSON schema and in the word about a key that is missing."""

from __future__ import annotations

from typing import Any

from bgpbridge.config.model import Config
from bgpbridge.documents.meanings import meanings
from bgpbridge.documents.schema import Strict


class Base(Strict):
    first: int = 1
    """What is first."""
    silent: int = 2


class Derived(Base):
    first: int = 3
    second: int = 4
    """What is second,
    in two lines."""


def test_docstrings_are_found_by_key_with_those_of_the_base() -> None:
    assert meanings(Base) == {"first": "What is first."}
    assert meanings(Derived) == {"first": "What is first.", "second": "What is second,\nin two lines."}


def test_they_stand_in_the_json_schema() -> None:
    shown = Derived.model_json_schema()["properties"]
    assert {key: value.get("description") for key, value in shown.items()} == {
        "first": "What is first.",
        "silent": None,
        "second": "What is second,\nin two lines.",
    }


def _without(schema: Any) -> list[str]:
    models = {"Config": schema, **schema["$defs"]}
    return [f"{name}.{key}" for name, one in models.items() for key, value in one.get("properties", {}).items()
            if "description" not in value and "$ref" not in value]  # fmt: skip


def test_most_keys_of_the_configuration_say_what_they_mean() -> None:
    schema = Config.model_json_schema()
    keys = sum(len(one.get("properties", {})) for one in (schema, *schema["$defs"].values()))
    assert keys > 100
    assert len(_without(schema)) < keys // 2
