"""One stream told to two bridges: to one UPDATE by UPDATE, each step to its end before the next; to the other in runs
cut anywhere, with other peers' words, reloads, links and timers in between the pieces, and with jobs left half done. In
the end nobody can tell which was which: the same routes in and out, the same groups and ways in both planes, the same
reasons, findings, counts and events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpbridge.feed.frames import DownReason, RefreshKind
from bgpbridge.types import Family
from tests.property.streams import COMMON, Word, words
from tests.property.tellers import DECISIONS, ENDS, NAMES, NEIGHBOURS, OLDEST, ROUTES, VRPS, Action, same, two
from tests.unit.pipeline.conftest import ETH1, ETH2

pytestmark = pytest.mark.usefixtures("small_pieces")
NAME, FAMILY, YES = st.sampled_from(NAMES), st.sampled_from(list(Family)), st.booleans()
SIZES = st.lists(st.tuples(YES, st.integers(1, 6)), max_size=4)
BETWEEN = st.lists(st.sampled_from([0, 0, 1, 2]), max_size=12)
SAYS = st.tuples(st.just("says"), NAME, st.lists(words(), min_size=1, max_size=8), SIZES, BETWEEN)
RELOAD = st.tuples(st.just("reload"), st.sampled_from(["policy", "policy", "overrides", "decision", "weight", "role"]))
FLAPS = st.builds(  # of a route or two by few attributes, each UPDATE alone: the shortest way is for these
    lambda name, said: ("says", name, said, [(False, 1)] * len(said), []),
    st.sampled_from("aacdi"),
    st.lists(
        st.builds(
            lambda at, gone, tail, hop: Word(() if gone else ((at, 0),), ((at, 0),) if gone else (), tail, hop),
            *(st.sampled_from([0, 0, 1, 3]), st.sampled_from([True, False, False]), st.integers(0, 1)),
            st.integers(0, 1),
        ),
        min_size=2,
        max_size=6,
    ),
)
ACTION = st.one_of(
    *[SAYS] * 6,
    *[FLAPS] * 4,
    st.tuples(st.just("down"), NAME, st.sampled_from(ENDS)),
    st.tuples(st.just("up"), NAME, YES),
    st.tuples(st.just("up"), NAME, YES),
    st.tuples(st.just("end"), NAME, FAMILY),
    st.tuples(st.just("refresh"), NAME, FAMILY, st.sampled_from([RefreshKind.BORR, RefreshKind.EORR])),
    st.tuples(RELOAD, st.integers(0, 3)).map(lambda pair: (*pair[0], pair[1])),
    st.tuples(st.just("link"), st.sampled_from([ETH1, ETH2]), YES),
    st.tuples(st.just("neighbour"), st.integers(0, len(NEIGHBOURS) - 1), YES),
    st.tuples(st.just("far"), YES),
    st.tuples(st.just("route"), st.integers(0, len(ROUTES) - 1), YES),
    st.tuples(st.just("vrps"), st.integers(0, len(VRPS) - 1)),
    st.tuples(st.just("reload"), st.just("policy"), st.just(4)),  # the one that asks RPKI
    st.tuples(st.sampled_from(["house", "collect"])),
    st.tuples(st.just("wait"), st.sampled_from([6.0, 400.0])),
    st.tuples(st.just("work"), st.integers(1, 4)),
    st.tuples(st.just("broken"), NAME),
    st.tuples(st.just("roster"), st.just("i"), YES),
    st.tuples(st.just("short"), st.integers(0, 3)),
    st.tuples(st.just("died")),
)


def spelled(actions: list[Action]) -> list[Action]:
    """With what has to follow: a session that was broken off ends, or one that goes by another role."""
    found: list[Action] = []
    for action in actions:
        found.append(action)
        if action[0] == "broken":
            found.append(("ended", action[1]))
        elif action[:2] == ("reload", "role"):
            found.append(("down", "d", (DownReason.CONFIGURATION, False)))
    return found


EXAMPLES = settings.default.max_examples // 5
CHAPTER = st.lists(ACTION, min_size=2, max_size=10).map(spelled)
LOAD: list[Action] = [  # what all tell before a story begins
    ("says", name, [Word(tuple((at, 0) for at in range(COMMON)), (), tail, hop, quirk)], [], [])
    for name, tail, hop, quirk in (
        ("a", 0, 0, ""),
        ("b", 1, 1, "tag"),
        ("c", 1, 2, "both"),
        ("d", 2, 0, ""),
        ("i", 0, 1, ""),
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ways")


@settings(max_examples=settings.default.max_examples * 2 // 5, deadline=None)
@given(st.lists(CHAPTER, min_size=1, max_size=3))
@example([[("link", ETH2, False), ("short", 0)]])  # groups without backups, until there is room for them
def test_nobody_can_tell_how_a_stream_was_cut(folder: Path, chapters: list[list[Action]]) -> None:
    with two(folder) as (plain, cut):
        for actions in [LOAD, *chapters]:
            for teller in (plain, cut):
                teller.tell(actions)
            same(plain, cut)
            for teller in (plain, cut):
                teller.revive()
        same(plain, cut)


def told_once(said: list[Word]) -> list[Word]:
    """The same, with no prefix twice in a run: between two words on one prefix another path would grow old."""
    seen: set[int] = set()
    found = []
    for word in said:
        paths = [
            [(n, i) for n, i in some if n not in seen and not seen.add(n)] for some in (word.announce, word.withdraw)
        ]
        found.append(replace(word, announce=tuple(paths[0]), withdraw=tuple(paths[1])))
    return found


ONCE = st.lists(words(bad=False, many=True), min_size=1, max_size=6).map(told_once)
IN_TURN = st.one_of(
    *[st.tuples(st.just("says"), NAME, ONCE, SIZES, st.just([]))] * 4,
    st.tuples(st.just("down"), NAME, st.sampled_from(ENDS)),
    st.tuples(st.just("up"), NAME, YES),
    st.tuples(st.just("far"), YES),
    st.tuples(st.just("route"), st.integers(0, len(ROUTES) - 1), YES),
    st.tuples(st.just("link"), st.sampled_from([ETH1, ETH2]), YES),
    st.tuples(st.just("reload"), st.just("policy"), st.integers(0, 3)),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, len(OLDEST) - 1), st.lists(IN_TURN, min_size=2, max_size=12))
def test_the_oldest_path_stays_however_a_run_is_cut(folder: Path, which: int, actions: list[Action]) -> None:
    """RFC 5004: what is decided depends on what was best before, so here each step is done before the next."""
    with two(folder) as tellers:
        for teller in tellers:
            teller.patient = True
            teller.tell([*LOAD, ("reload", "decision", DECISIONS.index(OLDEST[which])), *actions])
        same(*tellers)
