"""What passes ExaBGP by: words of a description, the last line of a file."""

from __future__ import annotations

import pytest

from bgpbridge.errors import SpeakerError
from bgpbridge.speaker.words import PeerWords, changed, last_line, whole
from bgpbridge.types import Family, Role


@pytest.mark.parametrize(
    "words",
    [
        PeerWords(1),
        PeerWords(3, role=Role.RS_CLIENT),
        PeerWords(3, name="p", role=Role.PEER, strict=True),
        PeerWords(7, 1790, (Family.IPV4, Family.IPV6), True, "transit-a"),
        PeerWords(2, name="x.y_z"),
    ],
)
def test_words_come_back_as_they_were(words: PeerWords) -> None:
    assert PeerWords.from_text(words.to_text()) == words


@pytest.mark.parametrize(
    "text",
    ["", "peer=x listen=1", "listen=179", "peer=1 listen=1 add-path=ipx", "peer=1 listen=1 role=king", "transit A"],
)
def test_a_description_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(SpeakerError, match="was not written by bgpbridge"):
        PeerWords.from_text(text)


def test_the_last_line_tells_a_whole_file_from_a_cut_one() -> None:
    text = "neighbor 192.0.2.1 {\n}\n\n" + last_line(1) + "\n"
    assert whole(text) == 1
    assert whole(last_line(0)) == 0
    for cut in range(len(text) - 1):
        assert whole(text[:cut]) is None


class Neighbor(dict[str, object]):
    """As much of ExaBGP's as is compared."""

    def __init__(self, **changes: object) -> None:
        keys = ("peer-as", "peer-address", "connect", "local-as", "local-address", "router-id", "hold-time", "passive")
        super().__init__(dict.fromkeys((*keys, "md5-password", "incoming-ttl", "outgoing-ttl", "capability"), 1))
        self.update({key.replace("_", "-"): value for key, value in changes.items()})

    @staticmethod
    def families() -> list[tuple[int, int]]:
        return [(1, 1)]


def test_what_changed_is_said_with_values_but_never_a_password() -> None:
    assert changed(Neighbor(), Neighbor()) == ""
    assert changed(Neighbor(), Neighbor(peer_as=64999)) == "its AS number 1 is now 64999"
    text = changed(Neighbor(md5_password="old"), Neighbor(md5_password="new", hold_time=9))
    assert text == "hold time 1 is now 9, another password"
    assert changed(Neighbor(local_address=None), Neighbor()) == ""  # the kernel has chosen it meanwhile
