"""`packet` and `trace` on the command line: what is asked, what is printed, and what cannot be asked."""

from __future__ import annotations

import json
import struct

import pytest

from bgpbridge.datapath.frames import ethernet, icmp, ipv4, udp

FRAMES = [
    ethernet(ipv4(udp(), dst="100.74.16.7")),
    bytes(9),
    ethernet(ipv4(icmp(data=bytes(60)), dst="203.0.113.1", protocol=1)),
]


@pytest.fixture
def capture(tmp_path):
    """A capture of three frames, the second of which is none."""
    path = tmp_path / "three.pcap"
    octets = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for frame in FRAMES:
        octets += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    path.write_bytes(octets)
    return path


def test_all_that_is_known_of_the_packet_is_asked(bgpbridge, server):
    words = "--from 192.0.2.1 --proto tcp --sport 7 --dport 443 --len 1500 --ttl 9 --vlan 10"
    assert bgpbridge("packet", "--in", "eth1", "--to", "100.74.16.7", *words.split()).code == 0
    query = "in=eth1&to=100.74.16.7&from=192.0.2.1&proto=tcp&sport=7&dport=443&len=1500&ttl=9&vlan=10"
    assert server.asked == [f"GET /v1/packet?{query}"]


def test_frames_of_a_capture_keep_their_numbers(bgpbridge, golden, capture, server):
    ran = bgpbridge("packet", "--in", "eth1", "--pcap", str(capture))
    assert (ran.code, server.asked) == (0, ["POST /v1/packet/frames"])
    assert ran.err == "frame 2 has 9 octets, and 14 to 3498 can be tried: left out\n"
    golden("packet-pcap", f"$ bgpbridge packet --in eth1 --pcap three.pcap\n{ran.err}{ran.out}")
    found = json.loads(bgpbridge("packet", "--in", "eth1", "--pcap", str(capture), "--json").out)
    assert [one["number"] for one in found] == [1, 3]


def test_a_torn_capture_is_told_before_anything_is_asked(bgpbridge, capture, server):
    capture.write_bytes(capture.read_bytes()[:-7])
    ran = bgpbridge("packet", "--in", "eth1", "--pcap", str(capture))
    assert (ran.code, ran.out, server.asked) == (2, "", [])
    assert "torn in frame 3" in ran.err
    assert "mend: `--limit 2`" in ran.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("packet --to 192.0.2.1", "Missing option '--in'"),
        ("packet --in eth1", "name the packet's destination with --to, or a capture with --pcap"),
        ("packet --in eth1 --to 192.0.2.1 --pcap x", "name the packet's destination with --to, or a capture"),
        ("packet --in eth1 --pcap x --ttl 3", "the frames of --pcap are as they are: leave out --ttl"),
        ("packet --in eth1 --pcap /nowhere", "No such file"),
        ("packet --in eth1 --to 192.0.2.1 --vlan 4095", "4095 is not in the range"),
        ("trace", "name packets with --to, --from or --in"),
        ("trace --to 192.0.2.1 --count 0", "0 is not in the range"),
        ("counters --prefixes --all", "--prefixes goes alone"),
    ],
)
def test_what_cannot_be_asked_is_usage(bgpbridge, server, line, said):
    ran = bgpbridge(*line.split())
    assert ran.code == 2
    assert said in ran.err
    assert server.asked == []


def test_a_trace_ends_with_its_last_line(bgpbridge, golden, server):
    line = "trace --to 100.74.16.0/24 --count 3"
    ran = bgpbridge(*line.split())
    assert ran.code == 0
    assert server.asked == ["GET /v1/trace?to=100.74.16.0%2F24&count=3&seconds=60"]
    golden("trace", f"$ bgpbridge {line}\n{ran.out}{ran.err}")


def test_a_trace_as_json_is_an_object_a_line(bgpbridge):
    lines = bgpbridge("trace", "--in", "eth1", "--json").out.splitlines()
    assert ["way" in json.loads(line) for line in lines] == [True, True, True, False]
