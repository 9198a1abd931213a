from __future__ import annotations

import random

import numpy as np
import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.rib.groups import FIRST_FREE, Group, GroupTable, Member, member_word

A, B, C = Member(1, 11), Member(2, 12), Member(3, 13, 7)


def rows_of(groups: list[Group], width: int = 3):
    words = [np.zeros(len(groups), np.uint64) for _ in range(width)]
    for row, group in enumerate(groups):
        for place, member in enumerate((*group.active, *group.backup)):
            words[place][row] = member_word(*member)
    return words, np.array([len(group.active) for group in groups])


def some(count: int, seed: int = 1) -> list[Group]:
    source = random.Random(seed)
    found = []
    for _ in range(count):
        members = tuple(Member(source.randrange(4), source.randrange(1, 6)) for _ in range(source.randrange(4)))
        active = min(len(members), source.choice([1, 1, 2]))
        found.append(Group(members[:active], members[active:]))
    return found


def test_bulk_and_single_interning_give_the_same_ids() -> None:
    table = GroupTable()
    groups = some(400)
    ids = table.intern_rows(*rows_of(groups)).tolist()
    assert ids == [table.intern(group) for group in groups]
    assert all(
        number == 0 if not group.active else table[number] == group for number, group in zip(ids, groups, strict=True)
    )
    other = GroupTable()
    assert [other.intern(group) for group in groups] == other.intern_rows(*rows_of(groups)).tolist()


def test_the_same_members_with_fewer_active_are_another_group() -> None:
    table = GroupTable()
    assert len({table.intern(Group((A, B))), table.intern(Group((A,), (B,))), table.intern(Group((B,), (A,)))}) == 3


def test_ids_start_behind_the_reserved_ones() -> None:
    table = GroupTable()
    assert table.intern(Group((A,))) == FIRST_FREE == 16
    assert table.intern(Group((), ())) == 0
    assert 0 not in table


def test_the_index_tells_who_uses_a_peer_and_a_next_hop() -> None:
    table = GroupTable()
    first, second = table.intern(Group((A,), (B,))), table.intern(Group((B,)))
    assert table.using_peer(2) == {first, second}
    assert table.using_peer(1) == table.using_next_hop(11) == {first}
    assert table.using_peer(9) == frozenset()
    assert sorted(table.next_hops()) == [11, 12]


def test_without_lost_members_the_first_backup_is_active() -> None:
    last = Member(1, 14)
    group = Group((A, B), (C, last))
    assert group.without(set(), set()) == group
    assert group.without({1}, set()) == Group((B,), (C,))
    assert group.without({1, 2}, set()) == Group((C,))
    assert group.without({2, 3}, {11}) == Group((last,))
    assert group.without({1, 2, 3}, set()) == Group(())


def test_references_follow_rows_and_idle_groups_can_be_freed() -> None:
    table = GroupTable()
    ids = table.intern_rows(*rows_of([Group((A,)), Group((B,)), Group((A,))]))
    table.moved(np.zeros(3, np.int64), ids)
    assert table.refs[ids[0]] == 2
    table.moved_one(int(ids[1]), 0)
    idle = table.idle()
    assert idle.ids.tolist() == [ids[1]]
    assert table.free(idle) == [ids[1]]
    assert ids[1] not in table
    assert table.using_peer(2) == frozenset()
    assert table.intern(Group((C,))) == ids[1]


def test_a_group_that_was_used_meanwhile_is_not_freed() -> None:
    table = GroupTable()
    number = table.intern(Group((A,)))
    idle = table.idle()
    table.moved_one(0, number)
    table.moved_one(number, 0)
    assert table.free(idle) == []
    assert table.free(table.idle()) == [number]
    table.moved(np.zeros(1, np.int64), np.array([table.intern(Group((B,)))]))
    assert len(table.idle().ids) == 0


def test_a_freed_id_holds_only_its_new_members() -> None:
    table = GroupTable()
    table.intern(Group((A, B), (C,)))
    table.free(table.idle())
    number = table.intern(Group((C,)))
    assert table.intern_rows(*rows_of([Group((C,)), Group((A, B), (C,))])).tolist() == [number, number + 1]


def test_reserved_ids_are_not_given_out_until_released() -> None:
    table = GroupTable(limit=19)
    table.reserve([16, 18])
    assert [table.intern(Group((m,))) for m in (A, B)] == [17, 19]
    assert table.room() == 0
    table.unreserve([18])
    assert table.intern(Group((C,))) == 18
    table.unreserve([16])
    assert table.intern(Group((Member(9, 9),))) == 16


def test_a_seeded_group_keeps_the_id_that_it_had() -> None:
    table = GroupTable()
    table.seed(40, Group((A,), (B,)))
    assert table.intern(Group((A,), (B,))) == 40
    assert table.intern_rows(*rows_of([Group((A,), (B,))])).tolist() == [40]
    assert [table.intern(Group((m,))) for m in (A, B)] == [16, 17]
    with pytest.raises(ValueError, match="taken"):
        table.seed(40, Group((C,)))
    with pytest.raises(ValueError, match="taken"):
        table.seed(41, Group((A,)))
    for peer in range(60):
        assert table.intern(Group((Member(peer, 99),))) != 40


def test_when_room_is_short_backups_are_left_out() -> None:
    table = GroupTable(limit=FIRST_FREE + 2)
    groups = [Group((A,), (B,)), Group((A,), (C,)), Group((B,), (A,)), Group((B,), (C,))]
    ids = table.intern_rows(*rows_of(groups)).tolist()
    assert [table[number] for number in ids] == [Group((A,)), Group((A,)), Group((B,)), Group((B,))]
    assert table.thinned == 4
    assert table.intern(Group((C,), (A,))) == FIRST_FREE + 2
    assert table[table.intern(Group((A,), (Member(7, 7),)))] == Group((A,))


def test_a_full_table_refuses_before_it_changes() -> None:
    table = GroupTable(limit=FIRST_FREE)
    with pytest.raises(CapacityError, match="2 more next-hop groups are needed, 1 of"):
        table.intern_rows(*rows_of([Group((A,)), Group((B,))]))
    assert len(table) == 0
    table.intern(Group((A,)))
    with pytest.raises(CapacityError):
        table.intern(Group((B,)))
