"""What changes while somebody looks: single prefixes and columns of them."""

from __future__ import annotations

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
    assert told == sorted(map(str, [first, second, second, third]))
