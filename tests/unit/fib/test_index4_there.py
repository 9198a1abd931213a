"""Groups by heap number, held against a dict: many and one at a time, while the table grows."""

import numpy as np

from bgpbridge.fib.index4_there import There

NUMBERS = 1 << 24


def _ascending(random: np.random.Generator, count: int, below: int = NUMBERS) -> np.ndarray:
    return np.unique(random.integers(1, below, count))


def _agrees(there: There, oracle: dict[int, int], random: np.random.Generator) -> None:
    known = np.array(sorted(oracle), np.int64)
    assert there.has(known).all()
    assert there.get(known).tolist() == [oracle[number] for number in known.tolist()]
    others = _ascending(random, 5000)
    assert there.has(others).tolist() == [number in oracle for number in others.tolist()]


def test_many_come_and_go() -> None:
    random, there, oracle = np.random.default_rng(1), There(), dict[int, int]()
    for turn in range(40):
        numbers = _ascending(random, 3000, 1 << 14 if turn % 2 else NUMBERS)  # close together, and wide apart
        groups = random.integers(1, 32768, len(numbers)).astype(np.uint16)
        there.put(numbers, groups)
        oracle |= dict(zip(numbers.tolist(), groups.tolist(), strict=True))
        gone = np.union1d(random.choice(sorted(oracle), 800, replace=False), _ascending(random, 50))
        there.drop(gone)
        for number in gone.tolist():
            oracle.pop(number, None)
        _agrees(there, oracle, random)


def test_one_at_a_time_is_the_same() -> None:
    random, there, oracle = np.random.default_rng(2), There(), dict[int, int]()
    for number in random.integers(1, 9000, 20_000).tolist():
        if number % 3:
            there.put_one(number, number % 1000 + 1)
            oracle[number] = number % 1000 + 1
        else:
            there.drop_one(number + 1)
            oracle.pop(number + 1, None)
        assert there.has_one(number) == (number in oracle)
        if number in oracle:
            assert there.get_one(number) == oracle[number]
    _agrees(there, oracle, random)


def test_what_has_gone_makes_room() -> None:
    there, groups = There(), np.ones(2000, np.uint16)
    for turn in range(50):  # a hundred thousand in all, two thousand at a time
        numbers = np.arange(1, 2001) + 2000 * turn
        there.put(numbers, groups)
        there.drop(numbers)
    assert there._bits == 12
    assert not there.has(np.arange(1, 100_001)).any()


def test_nothing_is_there_at_first() -> None:
    there, none = There(), np.empty(0, np.int64)
    there.put(none, np.empty(0, np.uint16))
    there.drop(none)
    assert not there.has_one(1)
    assert not there.has(np.arange(1, 100)).any()
