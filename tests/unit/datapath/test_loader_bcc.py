"""What is made of a BCC child that did not hand a program over."""

from __future__ import annotations

import pytest

from bgpbridge.datapath import loader_bcc
from bgpbridge.datapath.bcc_child import NO_BCC, NOT_COMPILED, REFUSED
from bgpbridge.errors import DatapathError, VerifierError


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (NO_BCC, DatapathError, "BCC is not installed"),
        (NOT_COMPILED, DatapathError, "could not compile"),
        (REFUSED, VerifierError, "verifier refused bgpbridge"),
        (-9, DatapathError, "the BCC child ended with -9"),
    ],
)
def test_each_end_of_the_child_has_its_words_and_a_mend(code: int, kind: type[DatapathError], words: str) -> None:
    error = loader_bcc._explain(code, "first\nsecond\nthird\nfourth\nlast words\n")
    assert type(error) is kind
    assert words in str(error)
    assert "last words" in str(error)
    assert "first" not in str(error)
    assert error.mend


def test_the_verifiers_whole_log_is_kept() -> None:
    error = loader_bcc._explain(REFUSED, "\n".join(map(str, range(100))))
    assert isinstance(error, VerifierError)
    assert error.log.startswith("0\n1\n")
