"""Every complaint about a file, compared whole. `BGPBRIDGE_GOLDEN=write pytest FILE` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgpbridge.config import load_config
from bgpbridge.errors import DocumentError
from bgpbridge.policy.parse import load_policies

GOLDEN = Path(__file__).parents[2] / "golden" / "errors"
CASES = sorted(GOLDEN.glob("*.yml"))


def load_one_policy(file: Path) -> object:
    return load_policies([file])


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    file = Path(path.name)
    load = load_config if file.stem.startswith("config") else load_one_policy
    with pytest.raises(DocumentError) as caught:
        load(file)
    message = f"{caught.value}\n".replace(str(GOLDEN), "")
    if os.environ.get("BGPBRIDGE_GOLDEN") == "write":
        path.with_suffix(".message.txt").write_text(message)
    assert message == path.with_suffix(".message.txt").read_text()
    assert caught.value.exit_code == 2
    assert "hunter2" not in message, "a secret was printed"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a traceback would show the input"


def test_messages_belong_to_cases() -> None:
    messages = {path.name.removesuffix(".message.txt") for path in GOLDEN.glob("*.message.txt")}
    assert messages == {path.stem for path in CASES}
