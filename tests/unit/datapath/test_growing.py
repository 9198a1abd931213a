"""An array that is mapped as far as it is used: what is seen before, after, and when it is given back."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from bgpbridge.datapath.growing import PIECE, ROOMY, Growing, Part

LINE = np.dtype("<u8")
COUNT = (2 * PIECE + 4096) // 8


@pytest.fixture
def memory() -> Iterator[int]:
    """Stands for an array of the kernel's: element n is n + 1."""
    fd = os.memfd_create("array")
    os.write(fd, np.arange(1, COUNT + 1, dtype=LINE).tobytes())
    yield fd
    os.close(fd)


def test_nothing_is_the_kernels_before_somebody_asks(memory: int) -> None:
    growing = Growing(memory, LINE, COUNT, whole=False)
    assert growing.mapped_octets == 0
    assert not growing.values.any()


def test_what_was_asked_for_is_there_and_an_array_stays_valid(memory: int) -> None:
    growing = Growing(memory, LINE, COUNT, whole=False)
    values, one = growing.values, growing.values.data
    growing.reach(3)
    assert growing.mapped_octets == PIECE
    assert values[:3].tolist() == [1, 2, 3]
    one[2] = 77
    assert os.pread(memory, 8, 16) == (77).to_bytes(8, "little")
    growing.reach(PIECE // 8 + 1)
    assert growing.mapped_octets == 2 * PIECE
    assert values[2] == 77
    assert values[PIECE // 8] == PIECE // 8 + 1


def test_the_last_piece_ends_with_the_array(memory: int) -> None:
    growing = Growing(memory, LINE, COUNT, whole=True)
    assert growing.mapped_octets == 2 * PIECE + 4096
    assert growing.values.tolist() == list(range(1, COUNT + 1))


def test_what_is_given_back_is_kept_by_the_kernel(memory: int) -> None:
    growing = Growing(memory, LINE, COUNT, whole=True)
    growing.fit(5)
    assert growing.mapped_octets == PIECE
    assert growing.values[4] == 5
    assert growing.values[-1] == 0
    growing.values[-1] = 9  # nobody should
    growing.reach(COUNT)
    assert growing.values[-1] == COUNT


def test_a_part_counts_in_rows_of_its_own(memory: int) -> None:
    growing = Growing(memory, LINE, COUNT, whole=False)
    part = Part(growing, first=PIECE // 8, each=64)
    part.reach(0)
    assert growing.mapped_octets == PIECE
    part.reach(1)
    assert growing.mapped_octets == 2 * PIECE
    part.fit(0)
    assert growing.mapped_octets == PIECE


def test_an_array_that_is_not_there_is_told(memory: int) -> None:
    growing = Growing(-1, LINE, COUNT, whole=False)
    with pytest.raises(OSError, match="mapping 1048576 octets"):
        growing.reach(1)
    assert growing.mapped_octets == 0
    del memory


def test_memory_of_ones_own_needs_no_asking() -> None:
    ROOMY.reach(5)
    ROOMY.fit(0)
