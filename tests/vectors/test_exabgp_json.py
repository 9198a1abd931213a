"""ExaBGP's own reading of messages, translated back: the decoder sees what it sees in the octets themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bgpbridge.feed.exabgp_json import ExabgpLines
from bgpbridge.feed.exabgp_update import FAMILIES, families_with_path_ids, updates
from bgpbridge.feed.frames import SessionDown, SessionUp, Updates
from bgpbridge.types import Family, Session
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.update import decode_update

MakeSession = Callable[..., Session]
NOT_SHOWN = ("attribute-0x", "bgp-prefix-sid", "tunnel-encap", "bgp-ls")


def unicast(vector: dict[str, Any]) -> dict[str, Any] | None:
    """ExaBGP's reading of an UPDATE that is of our families alone and shows all that its attributes say."""
    message = (vector["expect"] or {}).get("neighbor", {}).get("message", {})
    update: dict[str, Any] = message.get("update", {})
    families = {*update.get("announce", {}), *update.get("withdraw", {})}
    shown = not any(name.startswith(NOT_SHOWN) for name in update.get("attribute", {}))
    return update if families and families <= set(FAMILIES) and shown else None


def routes(messages: list[bytes], session: Session) -> tuple[set[Any], set[Any]]:
    announced: set[Any] = set()
    withdrawn: set[Any] = set()
    for message in messages:
        update = decode_update(message, session)
        announced |= {
            (route.prefix, route.path_id, replace(route.attributes, unknown=())) for route in update.announced
        }
        withdrawn |= set(update.withdrawn)
    return announced, withdrawn


def test_messages_of_exabgps_own_tests_come_back_the_same(shared_data: Path, make_session: MakeSession) -> None:
    compared, wrong = 0, []
    for text in (shared_data / "vectors/exabgp-qa.jsonl").read_text().splitlines():
        vector = json.loads(text)
        update = unicast(vector)
        if update is None:
            continue
        add_path = families_with_path_ids(update)
        session = make_session(extended_next_hop=True, add_path=add_path, asn4="no-asn4" not in vector["id"])
        theirs = list(iter_messages(bytes.fromhex(vector["hex"])))
        ours = list(updates(update, add_path, internal=True))
        compared += 1
        if routes(ours, replace(session, asn4=True)) != routes(theirs, session):
            wrong.append(vector["id"])
    assert compared > 60
    assert wrong == []


def test_a_live_5_0_tells_the_same_parsed_and_by_octets(shared_data: Path) -> None:
    """Up to the message that resets the session, apart from what 5.0 judges itself."""
    lines = [
        text
        for text in (shared_data / "vectors/exabgp-live-5.0.15.jsonl").read_text().splitlines()
        if '"exabgp"' in text
    ]
    tables = []
    for keep in ((lambda text: '"body"' not in text), (lambda text: '"update": {' not in text)):
        reader, table = ExabgpLines(), {}
        ended = False
        for text in filter(keep, lines):
            for one in reader.read(text):
                if isinstance(one.record, SessionUp):
                    session = one.record.session
                ended |= isinstance(one.record, SessionDown)
                for message in iter_messages(one.record.data) if isinstance(one.record, Updates) else ():
                    update = decode_update(message, session)
                    for prefix, _ in update.withdrawn:
                        table.pop(prefix, None)
                    table |= {route.prefix: route.attributes for route in update.announced}
        assert ended
        tables.append(table)
    assert tables[0].keys() == tables[1].keys()
    assert {str(prefix) for prefix in tables[0]} == {"10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"}
    assert {prefix.family for prefix in tables[0]} == {Family.IPV4}
    for prefix, attributes in tables[0].items():
        assert attributes.as_path == tables[1][prefix].as_path
        assert attributes.next_hop == tables[1][prefix].next_hop
