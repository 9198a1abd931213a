"""Rows of the packet table for the reverse-path check (RFC 3704) and for the rate of passed packets.

The kernel of the table's namespace knows 192.0.2.0/25 and 2001:db8:f::/64 behind another interface than the one that
packets come in by, 192.0.2.128/25 and 2001:db8:f:1::/64 behind that one; test_packet_table.py sets it up.
"""

from __future__ import annotations

from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.frames import icmp, ipv4, ipv6, stacked, udp
from tests.bpf.rows import V6, Row, extension, kept4, kept6, sent4, sent6

R = Reason
VLAN10, VLAN100 = ((0x8100, 10),), ((0x8100, 100),)


def _tagged4(name: str, reason: Reason, tags: tuple[tuple[int, int], ...], **header: str) -> Row:
    return Row(name, stacked(ipv4(udp(), **{"dst": "192.0.2.9", **header}), tags), reason, setting="strict")


LOOSE = [
    sent4("source with a route", udp(), src="203.0.113.9", setting="loose"),
    sent4("source with a route by another link", udp(), src="198.18.8.9", setting="loose"),
    sent4("source of a connected network", udp(), setting="loose"),
    sent4("source whose path is down", udp(), src="198.18.1.9", setting="loose"),
    kept4("source with no route", R.DROP_REVERSE_PATH, src="100.64.0.1", setting="loose"),
    kept4("source whose entry says no route", R.DROP_REVERSE_PATH, src="198.18.7.1", setting="loose"),
    kept4("source in a blackhole", R.DROP_REVERSE_PATH, src="198.51.100.66", setting="loose"),
    kept4("source behind a group never filled", R.PASS_SOURCE, src="198.18.4.1", setting="loose"),
    kept4(
        "source and destination with no route", R.DROP_REVERSE_PATH, src="100.64.0.1", dst="100.64.0.2", setting="loose"
    ),
    kept4("source with no route to an own address", R.PASS_PUNT, src="100.64.0.1", dst="198.51.100.1", setting="loose"),
    kept4("source with no route and TTL 1", R.PASS_TTL, src="100.64.0.1", ttl=1, setting="loose"),
    kept4("martian source", R.PASS_MARTIAN, src="127.0.0.1", setting="loose"),
    sent6("source with a route", udp(), src="2001:db8:2::9", setting="loose"),
    sent6("source of a connected network", udp(), setting="loose"),
    kept6("source with no route", R.DROP_REVERSE_PATH, src="2001:db8:ffff::1", setting="loose"),
    kept6("source in a blackhole", R.DROP_REVERSE_PATH, src="2001:db8:1::66", setting="loose"),
    kept6("source behind a group never filled", R.PASS_SOURCE, src="2001:db8:d::1", setting="loose"),
    kept6("source link-local", R.PASS_LINK_LOCAL, src="fe80::1", setting="loose"),
]

STRICT = [
    sent4("source by the link that it came in by", udp(), src="203.0.113.9", setting="strict"),
    sent4("source whose path by that link is down", udp(), src="198.18.1.9", setting="strict"),
    sent4("source that the kernel has behind that link", udp(), src="192.0.2.200", setting="strict"),
    kept4("source by another link", R.DROP_REVERSE_PATH, src="198.18.8.9", setting="strict"),
    kept4("source that the kernel has behind another link", R.DROP_REVERSE_PATH, src="192.0.2.9", setting="strict"),
    kept4("own address as source", R.DROP_REVERSE_PATH, src="198.51.100.1", setting="strict"),
    kept4("broadcast address as source", R.DROP_REVERSE_PATH, src="192.0.2.127", setting="strict"),
    kept4("source that the kernel has in a blackhole", R.DROP_REVERSE_PATH, src="192.0.2.66", setting="strict"),
    kept4("source with no route", R.DROP_REVERSE_PATH, src="100.64.0.1", setting="strict"),
    kept4("source in a blackhole", R.DROP_REVERSE_PATH, src="198.51.100.66", setting="strict"),
    kept4("source whose group has empty slots", R.DROP_REVERSE_PATH, src="198.18.3.1", setting="strict"),
    kept4("source behind a group never filled", R.PASS_SOURCE, src="198.18.4.1", setting="strict"),
    kept4(
        "source by another link to an own address", R.PASS_PUNT, src="198.18.8.9", dst="198.51.100.1", setting="strict"
    ),
    _tagged4("source by a VLAN, out of it", R.PASS_NO_ADJACENCY, VLAN10, src="198.18.8.9", dst="198.18.3.1"),
    _tagged4("source by a VLAN, out of another", R.DROP_REVERSE_PATH, VLAN100, src="198.18.8.9", dst="198.18.3.1"),
    _tagged4(
        "source by the port, out of a VLAN on it", R.DROP_REVERSE_PATH, VLAN10, src="203.0.113.9", dst="198.18.3.1"
    ),
    sent6("source by the link that it came in by", udp(), src="2001:db8:2::9", setting="strict"),
    sent6("source that the kernel has behind that link", udp(), src="2001:db8:f:1::9", setting="strict"),
    kept6("source by another link", R.DROP_REVERSE_PATH, src="2001:db8:10::9", setting="strict"),
    kept6("source that the kernel has behind another link", R.DROP_REVERSE_PATH, src="2001:db8:f::9", setting="strict"),
    kept6("own address as source", R.DROP_REVERSE_PATH, src="2001:db8:1::1", setting="strict"),
    kept6("source with no route", R.DROP_REVERSE_PATH, src="2001:db8:ffff::1", setting="strict"),
    kept6("source in a blackhole", R.DROP_REVERSE_PATH, src="2001:db8:1::66", setting="strict"),
    Row(
        "source by a VLAN, out of another",
        stacked(ipv6(udp(), src="2001:db8:10::9", dst="2001:db8:1::7"), VLAN100, V6),
        R.DROP_REVERSE_PATH,
        setting="strict",
    ),
]

LIMITED = [
    sent4("what is forwarded is not limited", udp(), setting="limited"),
    sent6("what is forwarded is not limited", udp(), setting="limited"),
    kept4("TTL 1", R.DROP_PUNT_RATE, ttl=1, setting="limited"),
    kept4("TTL 1 to an own address", R.PASS_TTL, ttl=1, dst="198.51.100.1", setting="limited"),
    kept4("TTL 1 to a connected network", R.DROP_PUNT_RATE, ttl=1, dst="192.0.2.200", setting="limited"),
    kept4("to an own address", R.PASS_PUNT, dst="198.51.100.1", setting="limited"),
    kept4("to a connected network", R.PASS_PUNT, dst="192.0.2.200", setting="limited"),
    kept4("options", R.DROP_PUNT_RATE, options=b"\1\1\1\0", setting="limited"),
    kept4("options to an own address", R.PASS_OPTIONS, options=b"\1\1\1\0", dst="198.51.100.1", setting="limited"),
    kept4("no route", R.DROP_PUNT_RATE, dst="100.64.0.1", setting="limited"),
    kept4("over the MTU", R.DROP_PUNT_RATE, udp(data=bytes(1473)), setting="limited"),
    kept4("wrong checksum", R.DROP_PUNT_RATE, check=1, setting="limited"),
    kept4("martian source", R.DROP_PUNT_RATE, src="127.0.0.1", setting="limited"),
    kept4("cut short", R.DROP_PUNT_RATE, total=100, setting="limited"),
    kept4("adjacency down", R.DROP_PUNT_RATE, dst="198.18.1.1", setting="limited"),
    kept4("blackhole", R.DROP_BLACKHOLE, dst="198.51.100.66", setting="limited"),
    kept4("multicast", R.PASS_MULTICAST, dst="224.0.0.5", ttl=2, setting="limited"),
    kept4("link-local", R.PASS_LINK_LOCAL, dst="169.254.1.1", setting="limited"),
    kept6("hop limit 1", R.DROP_PUNT_RATE, hop_limit=1, setting="limited"),
    kept6("hop limit 1 to an own address", R.PASS_TTL, hop_limit=1, dst="2001:db8:1::1", setting="limited"),
    kept6("hop-by-hop options", R.DROP_PUNT_RATE, extension(17) + udp(), next_header=0, setting="limited"),
    kept6("no route", R.DROP_PUNT_RATE, dst="2001:db8:ffff::1", setting="limited"),
    kept6("over the MTU", R.DROP_PUNT_RATE, udp(data=bytes(1453)), setting="limited"),
    kept6(
        "neighbour solicitation to a link-local address",
        *(R.PASS_LINK_LOCAL, icmp(135, 0, bytes(20))),
        src="fe80::2",
        dst="fe80::1",
        next_header=58,
        hop_limit=255,
        setting="limited",
    ),
]
