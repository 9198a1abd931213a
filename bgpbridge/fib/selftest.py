"""A program proves itself before it meets a packet: a table of frames, run by BPF_PROG_TEST_RUN over maps of its own.

`prove` loads the program once more, over small maps with the routes of `rig`, and compares for each frame of
`selftest_rows` the verdict, every octet that leaves and the reason that is counted: by the tries, then by the indexes.
The kernel's tag of both loads tells that it is one and the same program.
"""

from __future__ import annotations

from contextlib import closing

from bgpbridge.datapath.loader import Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import run
from bgpbridge.errors import DatapathError
from bgpbridge.fib.rig import lay
from bgpbridge.fib.selftest_rows import Case, cases
from bgpbridge.types import Family

__all__ = ["failures", "prove"]

SIZES = Sizes(1024, 1024)
TOLD = 5  # failures that an error names


def prove(program: Program, sources: Sources | None = None, *, indexed: bool = False) -> int:
    """Load the same program over maps of its own and run the table on it, by the tries and (`indexed`) by the indexes
    of both families; how many frames it took. Raises DatapathError with the first differences. Call it from a worker
    thread."""
    sizes = Sizes(SIZES.max_ipv4, SIZES.max_ipv6, indexed=indexed)
    with closing(Maps.create(sizes)) as maps:
        by_family, table = lay(maps), list(cases())
        with closing(load(maps.fds, program.loader, sources)) as twin:
            if twin.info.tag != program.info.tag:
                raise DatapathError(
                    f"two loads of the program differ ({program.info.tag}, {twin.info.tag})",
                    mend="the sources changed meanwhile: try again",
                )
            wrong, frames = failures(twin.fd, maps, table), len(table)
            indexes = [family for family in Family if by_family[family].index is not None]
            if indexes:
                for family in indexes:
                    maps.use_index(family, True)
                wrong += [f"by the index: {line}" for line in failures(twin.fd, maps, table)]
                frames += len(table)
    if wrong:
        raise _wrong(wrong)
    return frames


def failures(program: int, maps: Maps, table: list[Case]) -> list[str]:
    """What the program over these filled maps does otherwise than the table says, a line each."""
    return [line for case in table if (line := _failure(program, maps, case))]


def _failure(program: int, maps: Maps, case: Case) -> str:
    seen = run(program, maps, case.frame)
    reasons = [reason.label for reason in seen.reasons]
    if reasons != [case.reason.label]:
        return f"{case.name}: counted as {', '.join(reasons) or 'nothing'}, should be {case.reason.label}"
    if seen.verdict is not case.reason.verdict:
        return f"{case.name}: {seen.verdict.name.lower()}, should be {case.reason.verdict.name.lower()}"
    if seen.frame in (case.out or (case.frame,)):
        return ""
    wanted = (case.out or (case.frame,))[0]
    at = next((n for n, (a, b) in enumerate(zip(seen.frame, wanted, strict=False)) if a != b), len(wanted))
    return f"{case.name}: octet {at} of the frame that leaves differs"


def _wrong(wrong: list[str]) -> DatapathError:
    more = f"\n    and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
    told = "\n    ".join(wrong[:TOLD])
    return DatapathError(
        f"the new program fails {len(wrong)} frames of its self-test:\n    {told}{more}",
        mend="the program in force goes on; reinstall bgpbridge: its sources are not those that were tested",
    )
