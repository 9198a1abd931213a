"""What stands in the IPv6 index, whether it was learned at once or is still waiting."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.fib import index6_routes
from bgpbridge.fib.index6_routes import Routes
from bgpbridge.fib.keys import Keys
from bgpbridge.types import Family, Prefix

MASK64 = (1 << 64) - 1


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index6_routes, "MANY", 3)
    monkeypatch.setattr(index6_routes, "MOST", 40)


def drawn(random: np.random.Generator, most: int) -> dict[Prefix, int]:
    """Prefixes of one /32 that cover each other, with groups."""
    lengths = random.choice([32, 36, 40, 44, 48], int(random.integers(1, most))).tolist()
    values = [(0x20010DB8 << 96 | int(random.integers(0, 64)) << 88) >> 128 - n << 128 - n for n in lengths]
    found = [Prefix(Family.IPV6, value, n) for value, n in zip(values, lengths, strict=True)]
    return dict(zip(found, random.integers(0, 9, len(found)).tolist(), strict=True))


def store(routes: Routes, some: dict[Prefix, int]) -> None:
    routes.store(Keys.of(Family.IPV6, some), np.array(list(some.values()), np.uint32))


def cover(known: dict[Prefix, int], prefix: Prefix) -> tuple[int, int]:
    for length in range(prefix.length - 1, 31, -1):
        over = Prefix(Family.IPV6, prefix.value >> 128 - length << 128 - length, length)
        if over in known:
            return length, known[over]
    return -1, 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_has_the_answer_of_all_that_came(seed: int) -> None:
    random, routes, known = np.random.default_rng(seed), Routes(150), dict[Prefix, int]()
    waited = 0
    for _ in range(300):
        some = drawn(random, 12)
        words = [(p.value >> 64, p.value & MASK64, p.length) for p in some]
        match int(random.integers(0, 8)):
            case 0 | 1 | 2:
                store(routes, some)
                known |= some
            case 3:
                routes.store_one(*words[0], some[next(iter(some))])
                known |= [*some.items()][:1]
            case 4:
                stood = routes.remove(Keys.of(Family.IPV6, some))
                assert stood.tolist() == [at for at, prefix in enumerate(some) if known.pop(prefix, None) is not None]
            case 5:
                assert routes.remove_one(*words[0]) == (known.pop(next(iter(some)), None) is not None)
            case 6:
                length, group = routes.covers(Keys.of(Family.IPV6, some), np.full(len(some), 32))
                assert list(zip(length.tolist(), group.tolist(), strict=True)) == [cover(known, p) for p in some]
                assert routes.cover_one(*words[0], 32) == cover(known, next(iter(some)))
            case _:
                before = routes.waiting
                routes.learn(5)
                assert routes.waiting == max(before - 5, 0)
        waited += routes.waiting > 0
        if random.integers(0, 5) == 0:
            keys, groups = routes.standing()
            assert dict(zip(map(keys.prefix, range(len(keys))), groups.tolist(), strict=True)) == known
            assert len(routes) == len(known)
    assert waited > 50


def test_what_waits_is_bounded_and_always_fits() -> None:
    """Also while rows of prefixes that went fill the table: they are forgotten in time."""
    routes = Routes(60)
    for turn in range(200):
        some = {Prefix(Family.IPV6, 29 * turn + number << 96, 32): turn for number in range(29)}
        store(routes, some)
        assert routes.waiting <= index6_routes.MOST + 29
        if turn % 2:
            keys, groups = routes.standing()
            assert set(groups.tolist()) == {turn - 1, turn}
            routes.remove(keys)
    many = {Prefix(Family.IPV6, number << 96, 32): 1 for number in range(121)}
    with pytest.raises(CapacityError):
        store(routes, many)
