"""Files that `record` writes: one, or several that take turns; none is overwritten."""

from __future__ import annotations

import pytest

from bgpbridge.cli.record import MrtFiles, record_text
from bgpbridge.errors import UsageError


def test_one_file_has_the_name_that_was_given(tmp_path):
    files = MrtFiles(tmp_path / "feed.mrt")
    files.write(10, b"abc")
    files.write(99_999, b"def")
    files.flush()
    assert (tmp_path / "feed.mrt").read_bytes() == b"abcdef"
    assert (files.records, files.octets, files.written) == (2, 6, [tmp_path / "feed.mrt"])
    files.close()


def test_files_take_turns_by_size(tmp_path):
    files = MrtFiles(tmp_path / "feed.mrt", limit=6)
    for record in (b"abc", b"def", b"ghi", b"longer than six", b"x"):
        files.write(0, record)
    files.close()
    names = ["", ".1", ".2", ".3"]
    assert [path.name for path in files.written] == [f"feed-19700101T000000Z{name}.mrt" for name in names]
    assert [path.read_bytes() for path in files.written] == [b"abcdef", b"ghi", b"longer than six", b"x"]


def test_files_take_turns_at_full_minutes(tmp_path):
    files = MrtFiles(tmp_path / "feed.mrt", every_s=60)
    for second in (59, 60, 119, 121):
        files.write(second, b"x")
    files.close()
    stamps = ["000059", "000100", "000201"]
    assert [path.name for path in files.written] == [f"feed-19700101T{stamp}Z.mrt" for stamp in stamps]
    assert [len(path.read_bytes()) for path in files.written] == [1, 2, 1]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "feed.mrt").write_bytes(b"precious")
    with pytest.raises(UsageError, match="is there already"):
        MrtFiles(tmp_path / "feed.mrt")
    with pytest.raises(UsageError, match="No such file"):
        MrtFiles(tmp_path / "no" / "feed.mrt")
    assert (tmp_path / "feed.mrt").read_bytes() == b"precious"


def test_what_is_missing_is_told():
    answer = {"files": ["a.mrt"], "records": 1, "octets": 2048, "lost": 3, "left_out": 0}
    assert record_text(answer) == [
        "wrote        1 record, 2.0 KiB",
        "to           a.mrt",
        "missing      3 records came too fast",
    ]


def test_without_a_daemon_it_says_so(bgpbridge, tmp_path):
    ran = bgpbridge("-s", str(tmp_path / "no.sock"), "record", str(tmp_path / "feed.mrt"))
    assert (ran.code, "no bgpbridge answers" in ran.err) == (3, True)
