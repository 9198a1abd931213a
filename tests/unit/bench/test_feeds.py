"""Made feeds: the same on every machine, decodable, and telling of one prefix each where they say so."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable

import pytest

from bgpbridge.bench.feeds import Feed, Origin, made, withdrawal
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.update import decode_update

ORIGINS = {
    Family.IPV4: Origin(64601, ipaddress.ip_address("10.0.1.2")),
    Family.IPV6: Origin(64601, ipaddress.ip_address("2001:db8:a::2")),
}


@pytest.fixture(params=list(Family), ids=lambda family: family.label)
def feed(request: pytest.FixtureRequest) -> Feed:
    return made(3000, ORIGINS[request.param], family=request.param)


def test_every_update_is_read_and_every_prefix_is_announced_once(
    feed: Feed, make_session: Callable[..., Session]
) -> None:
    session = make_session(local_as=64700, peer_as=64601)
    updates = [decode_update(message, session) for message in iter_messages(feed.octets)]
    assert len(updates) == feed.updates
    assert not any(update.findings for update in updates)
    announced = [route.prefix for update in updates for route in update.announced]
    assert announced == [feed.prefix(row) for row in range(len(feed))]
    assert len(set(announced)) == len(feed) == 3000


def test_three_or_four_prefixes_stand_in_an_update(feed: Feed) -> None:
    assert 3000 / 4 <= feed.updates <= 3000 / 3 + 1


def test_a_seed_gives_the_same_octets_and_another_one_others(feed: Feed) -> None:
    origin = ORIGINS[feed.family]
    assert made(3000, origin, family=feed.family).octets == feed.octets
    assert made(3000, origin, family=feed.family, seed=2).octets != feed.octets


def test_two_origins_announce_the_same_prefixes(feed: Feed) -> None:
    other = made(3000, dataclasses.replace(ORIGINS[feed.family], asn=64602, longer=2), family=feed.family)
    assert (other.value == feed.value).all()
    assert (other.length == feed.length).all()
    assert len(other.octets) == len(feed.octets) + 8 * feed.updates


def test_addresses_said_to_be_alone_lie_in_exactly_one_prefix(feed: Feed) -> None:
    prefixes = [feed.prefix(row) for row in range(len(feed))]
    addresses = feed.alone(50)
    assert len(addresses) >= 49
    assert [sum(prefix.covers(address) for prefix in prefixes) for address in addresses] == [1] * len(addresses)
    last = next(row for row, prefix in enumerate(prefixes) if prefix.covers(addresses[-1]))
    assert last > len(feed) * 0.98


def test_nothing_that_a_lab_lives_on_is_announced() -> None:
    ours = [Prefix.parse(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "192.0.2.0/24", "224.0.0.0/4")]
    feed = made(20_000, ORIGINS[Family.IPV4])
    prefixes = [feed.prefix(row) for row in range(len(feed))]
    assert not any(a.covers(b) or b.covers(a) for a in ours for b in prefixes)


def test_a_withdrawal_takes_back_one_prefix(make_session: Callable[..., Session]) -> None:
    prefix = Prefix.parse("198.51.100.0/22")
    assert decode_update(withdrawal(prefix), make_session()).withdrawn == ((prefix, 0),)
