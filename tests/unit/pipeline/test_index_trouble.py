"""An index that leaves its packets to the trie is told once, and again when it is back; so is a trie left alone."""

from __future__ import annotations

from bgpbridge.events import Severity
from bgpbridge.types import Family


def test_an_index_that_cannot_answer_is_an_event_and_so_is_its_return(make_world) -> None:
    world = make_world({})
    why = "the IPv6 index has no room: 1,000 of 1,000 lines are in use"
    for trouble in ("", why, why, "", ""):
        world.xdp.troubles = {Family.IPV6: trouble}
        world.house()
    told = [event for event in world.bridge.events.tail() if event.kind == "index-trouble"]
    assert [(event.subject, event.text, event.severity) for event in told] == [
        ("ipv6", f"{why}; its routes are found by the trie alone", Severity.WARNING),
        ("ipv6", "answers again", Severity.NOTICE),
    ]


def test_a_trie_whose_thread_has_ended_is_told_once(make_world) -> None:
    world = make_world({})
    for _ in range(3):
        world.xdp.ended = {Family.IPV4: "MemoryError()"}
        world.house()
    told = [event for event in world.bridge.events.tail() if event.kind == "trie-follower-ended"]
    assert [(event.subject, event.severity) for event in told] == [("ipv4", Severity.ERROR)]
    assert "MemoryError()" in told[0].text
