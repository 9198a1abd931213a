from __future__ import annotations

import pytest

from bgpbridge.errors import WireError
from bgpbridge.wire.cursor import Cursor


def test_reads_integers_in_network_order() -> None:
    cursor = Cursor(bytes(range(1, 12)))
    assert (cursor.u8(), cursor.u16(), cursor.u32()) == (1, 0x0203, 0x04050607)
    assert cursor.integer(3) == 0x08090A
    assert cursor.rest() == b"\x0b"
    cursor.finish()


def test_fails_on_over_read_and_stays_where_it_was() -> None:
    cursor = Cursor(b"abcdef", 1, 3)
    for read in (cursor.u32, lambda: cursor.take(3), lambda: cursor.sub(3), lambda: cursor.take(-1)):
        with pytest.raises(WireError, match="2 left"):
            read()
    assert cursor.take(2) == b"bc"
    with pytest.raises(WireError):
        cursor.u8()


def test_fails_on_left_over() -> None:
    with pytest.raises(WireError, match="1 octets left over at 0"):
        Cursor(b"a").finish()


def test_a_sub_cursor_has_its_own_bound_and_is_skipped() -> None:
    cursor = Cursor(b"abcdef")
    inner = cursor.sub(2)
    assert cursor.take(1) == b"c"
    assert inner.rest() == b"ab"
    with pytest.raises(WireError):
        inner.u8()
