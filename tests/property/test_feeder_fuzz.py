"""Lines that no ExaBGP wrote, and frames that no feeder of ours sent: refused in words, and what follows is read."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.errors import LaneError
from bgpbridge.feed.exabgp_json import ExabgpLines, LineError
from bgpbridge.feed.frames import RecordKind
from bgpbridge.feed.pipe import CAUSES, Pipe
from bgpbridge.feed.ways import HEADER, LARGEST, Hello, complaint, complaint_of, frame, record_of
from tests.unit.feed.test_exabgp_json import ANNOUNCE, LINES, NEGOTIATED, line

REAL = [
    *LINES,
    line("negotiated", negotiated=NEGOTIATED),
    line("open", open={"router_id": "192.0.2.1"}),
    line("update", message={"update": ANNOUNCE}),
    line("refresh", **{"route-refresh": {"afi": "ipv4", "safi": "unicast", "subtype": "begin"}}),
    line("state", state="down", reason="peer reset"),
]
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [-1, 1 << 32, 1 << 64, 10**400, float("inf"), float("nan"), "", "\ud800", "256.0.0.0/99", "::/129"]
    ),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each place of a document: a container and the key in it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in list(inside) for found in [(value, key), *places(one)]]


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A real line with some of its values of another kind, under another name, or gone."""
    document = json.loads(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        how = draw(st.sampled_from(["value", "name", "gone"]))
        value = container.pop(key)
        if how == "value" or (how == "name" and isinstance(container, list)):
            container.insert(key, draw(odd)) if isinstance(container, list) else container.update({key: draw(odd)})
        elif how == "name":
            container[draw(st.text(max_size=8))] = value
    return json.dumps(document)


@st.composite
def cut(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(REAL))
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 40)) :]


lines = st.one_of(
    changed(),
    cut(),
    st.sampled_from(REAL),
    st.text(max_size=60),
    st.sampled_from(["[" * 100_000, '{"exabgp":' * 2000, "null", "[]", "1" * 5000, line("state", "6.1\n", state="up")]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(lines, max_size=8))
def test_a_line_is_read_or_refused_and_a_bridge_can_take_what_it_says(texts: list[str]) -> None:
    reader = ExabgpLines()
    for text in texts:
        try:
            for heard in reader.read(text):
                octets = frame(1, heard.record)
                length, kind, _ = HEADER.unpack_from(octets)
                assert length <= LARGEST
                record_of(kind, octets[HEADER.size :])
        except LineError as error:
            assert all((error.cause, "expected: " in error.what, error.mend))  # noqa: PT017 (most lines are taken)
            complaint_of(complaint(error.what, error.mend)[HEADER.size :]).encode()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(lines.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=80)), max_size=12)
)
def test_the_pipe_reads_to_the_end_whatever_comes(octets: list[bytes]) -> None:
    source, into = os.pipe()
    out, sink = os.pipe()
    told: list[str] = []
    pipe = Pipe(Path("/nonexistent/feed.sock"), told.append, source, sink)
    try:
        for one in octets:
            os.write(into, one[: 1 << 15] + b"\n")
            pipe._read(0)
        assert len(pipe._causes) <= CAUSES
        assert all(text.startswith(("refused", "ExaBGP answered", "127.0.0.1 cannot")) for text in told)
        assert bool(pipe._causes) == bool(pipe._refused)
    finally:
        for descriptor in (source, into, out, sink):
            os.close(descriptor)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_frame_is_a_record_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.one_of(st.sampled_from(list(RecordKind)), st.integers(0, 255)))
    payload = data.draw(st.one_of(st.binary(max_size=60), spoilt_records()))
    with contextlib.suppress(LaneError):
        record_of(kind, payload)
    with contextlib.suppress(LaneError):
        complaint_of(payload).encode()


@st.composite
def spoilt_records(draw: st.DrawFn) -> bytes:
    """The payload of a session's beginning or end, with some values of another kind."""
    reader = ExabgpLines()
    ups = [one.record for text in (LINES[0], REAL[-1]) for one in reader.read(text)]
    document = json.loads(frame(1, draw(st.sampled_from(ups)))[HEADER.size :])
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from(places(document)))
        container[key] = draw(odd)
    return json.dumps(document).encode()


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.fixed_dictionaries({"bgpbridge": odd, "way": odd, "keep": odd}).map(lambda said: json.dumps(said).encode()),
    )
)
def test_a_hello_is_one_or_refused(octets: bytes) -> None:
    with contextlib.suppress(LaneError):
        Hello.read(octets)
