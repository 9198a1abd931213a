"""What changes while somebody looks: single prefixes and columns of them."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.fib.keys import Keys
from bgpbridge.fib.noted import Noted
from bgpbridge.types import Family, Prefix

TEXTS = {
    Family.IPV4: ("198.51.100.0/24", "203.0.113.0/25", "192.0.2.1/32"),
    Family.IPV6: ("2001:db8::/32", "2001:db8:1::/48", "2001:db8::1/128"),
}


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.label)
def test_single_ones_and_columns_are_given_back_together(family: Family) -> None:
    first, second, third = (Prefix.parse(text) for text in TEXTS[family])
    noted = Noted(family)
    assert not len(noted.keys())
    noted.add(Keys.of(family, []))
    noted.one(second.value >> 64, second.value & (1 << 64) - 1, second.length)
    noted.add(Keys.of(family, [first, third]))
    noted.one(second.value >> 64, second.value & (1 << 64) - 1, second.length)
    found = noted.keys()
    told = sorted(str(found.prefix(index)) for index in range(len(found)))
    assert told == sorted(map(str, [first, second, third]))


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.label)
def test_what_changes_for_ever_takes_no_more_than_the_prefixes_there_are(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgpbridge.fib.noted.ROOM", 200)
    prefixes = [Prefix.parse(text) for text in TEXTS[family]]
    keys, noted = Keys.of(family, prefixes), Noted(family)
    for turn in range(1000):
        noted.add(keys.take(np.roll(np.arange(len(prefixes)), turn)[:2]))
        one = prefixes[turn % 3]
        noted.one(one.value >> 64, one.value & (1 << 64) - 1, one.length)
        assert len(noted.keys()) <= 20
    found = noted.keys()
    assert {found.prefix(index) for index in range(len(found))} == set(prefixes)
