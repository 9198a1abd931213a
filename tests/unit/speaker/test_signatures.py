"""What the kernel's counters of TCP MD5 say about a peer that does not answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bgpbridge.feed.frames import NoticeKind
from bgpbridge.speaker.signatures import Signatures, SignatureWatch, no_answer

NETSTAT = """TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted
TcpExt: 9 3 5 7 11
IpExt: InNoRoutes InTruncatedPkts
IpExt: 1 2
"""


def test_the_counters_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "netstat").write_text(NETSTAT)
    assert Signatures.now(tmp_path / "netstat") == Signatures(wrong=7, missing=3, unexpected=5)


def test_a_kernel_without_them_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "netstat").write_text("TcpExt: SyncookiesSent\nTcpExt: 9\n")
    assert Signatures.now(tmp_path / "netstat") == Signatures.now(tmp_path / "none") == Signatures()


def test_this_kernel_has_counters_that_can_be_read() -> None:
    assert Signatures.now().wrong >= 0


@pytest.mark.parametrize(
    ("password", "dropped", "words"),
    [
        (True, Signatures(wrong=4), "has the other side the same one? The kernel dropped 4 segments with a wrong MD5"),
        (True, Signatures(missing=1), "The kernel dropped 1 segment without one meanwhile"),
        (True, Signatures(), "this peer has a password: has the other side the same one? Or filtered"),
        (False, Signatures(unexpected=2), "nobody here has a password for: does the other side have one for us?"),
        (False, Signatures(wrong=9), "filtered, no route back, or the other side has a password for us"),
    ],
)
def test_silence_in_words(password: bool, dropped: Signatures, words: str) -> None:
    text = no_answer(20, password=password, dropped=dropped)
    assert text.startswith("no answer for 20 s")
    assert words in text


class Passive:
    """A passive peer that is down, as far as the watch looks."""

    session = None
    number = 1

    def __init__(self, password: str) -> None:
        self.neighbor = {"passive": True, "md5-password": password}
        self.told: list[tuple[NoticeKind, str]] = []
        self.outbox = SimpleNamespace(notice=self.notice)

    def notice(self, kind: NoticeKind, text: str, *, peer: int) -> None:
        assert peer == self.number
        self.told.append((kind, text))


def test_a_passive_peer_hears_of_segments_that_may_be_its_own() -> None:
    counts, now = [Signatures()], [100.0]
    watch = SignatureWatch(read=lambda: counts[0], clock=lambda: now[0])
    signed, plain = Passive("x"), Passive("")
    peers: Any = [signed, plain]
    plain.number = 2
    for _ in range(3):
        watch.look(peers)
        now[0] += 11
    assert (signed.told, plain.told) == ([], [])
    counts[0] = Signatures(wrong=3)
    watch.look(peers)
    assert [kind for kind, _ in signed.told] == [NoticeKind.SIGNATURE_REFUSED]
    assert "3 segments with a wrong MD5 signature meanwhile, perhaps its own" in signed.told[0][1]
    assert plain.told == []
    counts[0] = Signatures(wrong=5, unexpected=1)
    watch.look(peers)  # too soon
    now[0] += 11
    watch.look(peers)
    assert (len(signed.told), len(plain.told)) == (1, 1)
    now[0], counts[0] = now[0] + 301, Signatures(wrong=6, unexpected=1)
    watch.look(peers)
    assert (len(signed.told), len(plain.told)) == (2, 1)
