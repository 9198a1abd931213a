"""What ExaBGP 5.0.15 handed to a process on a live session: its raw messages through our decoder.

ExaBGP announces what RFC 7606 withdraws; with the tap the judgement is ours. Each message follows a line
that names what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.types import Session, Verdict
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.update import decode_update

EXPECTED = {
    "good 10.1.0.0/24": (Verdict.ACCEPT, []),
    "MED len 5 -> treat-as-withdraw, same prefix": (Verdict.TREAT_AS_WITHDRAW, ["med: length"]),
    "AGGREGATOR len 5 -> discard": (Verdict.ATTRIBUTE_DISCARD, ["aggregator: length"]),
    "attr overrun, same prefix": (Verdict.TREAT_AS_WITHDRAW, ["update: attribute does not fit"]),
    "unknown 255": (Verdict.ACCEPT, []),
    "good again 10.1.0.0/24": (Verdict.ACCEPT, []),
    "NLRI /33": (Verdict.SESSION_RESET, ["nlri: invalid prefix"]),
}


@pytest.fixture(scope="module")
def sent(shared_data: Path) -> dict[str, bytes]:
    """Messages by what the sender called them."""
    found: dict[str, bytes] = {}
    name = ""
    for line in (shared_data / "vectors/exabgp-live-5.0.15.jsonl").read_text().splitlines():
        event = json.loads(line)
        if "SENT" in event:
            name = event["SENT"]
            continue
        message = event.get("neighbor", {}).get("message", {})
        if "body" in message:
            found[name] = bytes.fromhex(message["header"][2:] + message["body"][2:])
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_live_message(name: str, sent: dict[str, bytes], make_session: Callable[..., Session]) -> None:
    session = make_session(local_as=65000, peer_as=65001)
    (message,) = iter_messages(sent[name])
    update = decode_update(message, session)
    assert (update.verdict, [finding.reason for finding in update.findings]) == EXPECTED[name]
    assert difference([message], session) == ""


def test_the_prefix_goes_when_its_route_is_treated_as_withdrawn(
    sent: dict[str, bytes], make_session: Callable[..., Session]
) -> None:
    session = make_session(local_as=65000, peer_as=65001)
    good = decode_update(sent["good 10.1.0.0/24"], session)
    bad = decode_update(sent["MED len 5 -> treat-as-withdraw, same prefix"], session)
    assert [(route.prefix, route.path_id) for route in good.announced] == list(bad.withdrawn)
