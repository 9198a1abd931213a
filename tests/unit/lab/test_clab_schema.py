"""Our labs are genuine containerlab files: they stand up to containerlab's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import regex
import yaml

LABS = sorted((Path(__file__).parents[3] / "lab").rglob("*.clab.yml"))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    r"""As jsonschema's own, with `regex`: the schema uses \p{..}, which Python's `re` has not."""
    if isinstance(instance, str) and not regex.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


@pytest.fixture(scope="module")
def validator(shared_data: Path) -> Any:
    schema = json.loads((shared_data / "topologies/clab.schema.json").read_text())
    base = jsonschema.validators.validator_for(schema)
    return jsonschema.validators.extend(base, {"pattern": _pattern})(schema)


@pytest.mark.parametrize("path", LABS, ids=lambda p: p.name)
def test_our_labs_validate(validator: Any, path: Path) -> None:
    errors = [
        f"{list(error.path)}: {error.message}" for error in validator.iter_errors(yaml.safe_load(path.read_text()))
    ]
    assert errors == []


def test_the_validator_is_awake(validator: Any) -> None:
    assert not validator.is_valid({"name": "x", "topology": {"nodes": {"a": {"knid": "linux"}}}})


def test_the_labs_are_found() -> None:
    names = {path.name.partition(".")[0] for path in LABS}
    assert names >= {"quickstart", "dual-homed", "route-server", "ibgp-rr", "v4-over-v6", "frr01"}
