"""Real frames through a real router: sender, router and sink in namespaces of their own, joined by veth.

What XDP sends must be, octet for octet, what the builder says and what the kernel itself forwards when the
fast path is off.

    sender s0 ── r0 router r1 ── k0 sink       203.0.113.0/24 and 2001:db8:c::/48 lie behind the sink
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, attach
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Reason
from bgpbridge.datapath.attach import Wanted
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.frames import ethernet, icmp, ipv4, ipv6, mac, stacked, tagged, tcp, udp
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes

pytestmark = pytest.mark.root
MARK = b"bgpbridge on the wire"
S0, R0, R1, K0 = (mac(f"02:00:00:00:00:{n:02x}") for n in (1, 2, 3, 4))
GROUP = 16
SMALL_MTU = 1300
SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2C
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 1 << 4
Q, AD = 0x8100, 0x88A8
PRESENT, SERVICE = abi.TagFlag.PRESENT, abi.TagFlag.PRESENT | abi.TagFlag.SERVICE
# tags on the wire, as a place has them, and the third octet of the prefix behind that exit
WAYS = (
    ((), (0, 0), 113),
    (((Q, 10),), (PRESENT | 10, 0), 114),
    (((AD, 20), (Q, 30)), (SERVICE | 20, PRESENT | 30), 115),
)


def gro_on(interface: str) -> None:
    """A veth takes redirected frames only when its peer has NAPI: by an XDP program, or by GRO."""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_SGRO, 1))
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def with_tag(frame: bytes, told: list[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the wire: the kernel takes the first tag off and tells of it (packet(7))."""
    for level, kind, data in told:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, tci, tpid = struct.unpack_from("=I12xHH", data)
            if status & TP_STATUS_VLAN_VALID:
                return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame


@dataclass
class Router:
    maps: Maps
    sender: socket.socket
    sink: socket.socket

    def carry(self, frames: list[bytes]) -> list[bytes]:
        """Send frames into r0; what came out at the sink with our mark in it, until as many came or 1 s."""
        while self._receive(0):
            pass
        for frame in frames:
            self.sender.send(frame)
        came: list[bytes] = []
        until = time.monotonic() + 1
        while len(came) < len(frames) and (left := until - time.monotonic()) > 0:
            frame = self._receive(left)
            if frame and MARK in frame:
                came.append(frame)
        return came

    def _receive(self, timeout_s: float) -> bytes:
        self.sink.settimeout(timeout_s)
        try:
            frame, told, _, _ = self.sink.recvmsg(65536, 256)
        except (TimeoutError, BlockingIOError):
            return b""
        return with_tag(frame, told)


def configure(sender, router, sink) -> None:
    for n, (space, name, peer_space, peer) in enumerate(((sender, "s0", router, "r0"), (router, "r1", sink, "k0"))):
        space.ip(f"link add {name} type veth peer name {peer} netns {peer_space.name}")
        for owner, interface, address in ((space, name, (S0, R1)[n]), (peer_space, peer, (R0, K0)[n])):
            owner.ip(f"link set {interface} address {address.hex(':')}")
            owner.ip(f"link set {interface} up")
    router.ip("addr add 192.0.2.1/24 dev r0")
    router.ip("addr add 198.51.100.1/24 dev r1")
    router.ip("addr add 2001:db8:f::1/64 dev r0 nodad")
    router.ip("addr add 2001:db8:b::1/64 dev r1 nodad")
    for hop, prefix in (("198.51.100.2", "203.0.113.0/24"), ("2001:db8:b::2", "2001:db8:c::/48")):
        router.ip(f"neigh replace {hop} lladdr {K0.hex(':')} dev r1 nud permanent")
        router.ip(f"route add {prefix} via {hop}")
    for hop, prefix, source in (
        ("198.51.100.2", "203.0.120.0/24", "192.0.2.2"),
        ("2001:db8:b::2", "2001:db8:d::/48", "2001:db8:f::2"),
    ):
        router.ip(f"route add {prefix} via {hop} mtu {SMALL_MTU}")
        router.ip(f"neigh replace {source} lladdr {S0.hex(':')} dev r0 nud permanent")
    switches = {
        "ipv4/ip_forward": 1,
        "ipv4/conf/all/rp_filter": 0,
        "ipv4/conf/r0/rp_filter": 0,
        "ipv6/conf/all/forwarding": 1,
    }
    with router.inside():
        for name, value in switches.items():
            Path("/proc/sys/net", name).write_text(f"{value}\n")
    with sink.inside():
        gro_on("k0")


def fill(maps: Maps, ingress: int, egress: int) -> None:
    maps.accept_interface(ingress, R0)
    maps.accept_interface(egress, R1)
    maps.store_adjacency(1, Adjacency(K0, R1, 1500, AdjacencyState.UP, egress))
    maps.store_group(GROUP, 1)
    maps.lpm4.update(abi.lpm4_keys(np.array([0xCB007100]), np.array([24])), GROUP)
    maps.lpm6.update(
        abi.lpm6_keys(np.array([0x20010DB8000C0000], np.uint64), np.array([0], np.uint64), np.array([48])), GROUP
    )
    maps.enable(True)


def packet_socket(space, interface: str) -> socket.socket:
    with space.inside():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        made.bind((interface, 0))
    made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    return made


@pytest.fixture(params=[Wanted.NATIVE, Wanted.GENERIC], ids=str)
def router(request, namespaces, pin_path: Path, compiled: Path, monkeypatch) -> Iterator[Router]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    sender, middle, sink = (namespaces(name) for name in "srk")
    configure(sender, middle, sink)
    maps = Maps.create(Sizes(100, 100))
    program = load(maps.fds, Loader.LIBBPF)
    ingress, egress = middle.index("r0"), middle.index("r1")
    with middle.inside():
        fill(maps, ingress, egress)
        for ifindex in (ingress, egress):
            attach.attach(program.fd, ifindex, pin_path, request.param)
    program.close()  # the pinned links keep it
    with packet_socket(sender, "s0") as s0, packet_socket(sink, "k0") as k0:
        made = Router(maps, s0, k0)
        settle(made)
        yield made
    with middle.inside():
        attach.detach_all(pin_path)
    maps.close()


def settle(router: Router) -> None:
    """Until the first frame comes through: links come up in their own time."""
    probe = ethernet(ipv4(udp(data=MARK), dst="203.0.113.1"), dst=R0, src=S0)
    for _ in range(20):
        if router.carry([probe]):
            return
    raise AssertionError("nothing comes through the router")


def packets(ttl: int) -> list[tuple[int, bytes]]:
    """Ethertype and packet, of every kind that is forwarded, with TTL or hop limit `ttl`."""
    to4, to6 = {"dst": "203.0.113.9", "ttl": ttl}, {"dst": "2001:db8:c::9", "hop_limit": ttl}
    return [
        *((0x0800, ipv4(udp(4000 + n, data=MARK), **to4)) for n in range(20)),
        (0x0800, ipv4(tcp(data=MARK * 9), protocol=6, tos=0xB8, **to4)),
        (0x0800, ipv4(icmp(data=MARK), protocol=1, **to4)),
        (0x0800, ipv4(udp(data=MARK + bytes(1400)), ident=7, fragment=0x4000, **to4)),
        (0x0800, ipv4(udp(data=MARK + bytes(3)), ident=8, fragment=0x2000, **to4)),
        (0x0800, ipv4(MARK, ident=8, fragment=4, **to4)),
        (0x86DD, ipv6(udp(data=MARK), flow=0x12345, **to6)),
        (0x86DD, ipv6(tcp(data=MARK * 9), next_header=6, **to6)),
        (0x86DD, ipv6(bytes([17, 0, 0, 1, 0, 0, 0, 5]) + udp(data=MARK + bytes(2)), next_header=44, **to6)),
        (0x86DD, ipv6(bytes([59, 0, 1, 4, 0, 0, 0, 0]) + MARK, next_header=60, **to6)),
    ]


def test_frames_leave_as_the_builder_says_and_as_the_kernel_sends_them(router: Router) -> None:
    sent = [ethernet(packet, kind, dst=R0, src=S0) for kind, packet in packets(64)]
    expected = [ethernet(packet, kind, dst=K0, src=R1) for kind, packet in packets(63)]
    before = read_reasons(router.maps)
    assert router.carry(sent) == expected
    after = read_reasons(router.maps)
    assert (after[Reason.FORWARDED] - before[Reason.FORWARDED]).packets == len(sent)
    router.maps.enable(False)
    assert router.carry(sent) == expected
    assert read_reasons(router.maps)[Reason.FORWARDED] == after[Reason.FORWARDED]


def test_what_is_not_ours_to_forward_is_left_to_the_kernel(router: Router) -> None:
    to = {"dst": "203.0.113.9"}
    kept = [
        tagged(ipv4(udp(data=MARK), **to), 5, dst=R0, src=S0),
        ethernet(ipv4(udp(data=MARK), ttl=1, **to), dst=R0, src=S0),
        ethernet(ipv4(udp(data=MARK), check=0xDEAD, **to), dst=R0, src=S0),
        ethernet(ipv4(udp(data=MARK), **to), dst=K0, src=S0),
        ethernet(ipv4(udp(data=MARK), dst="203.0.113.9", src="127.0.0.1"), dst=R0, src=S0),
    ]
    assert router.carry(kept) == []
    option = ethernet(ipv4(udp(data=MARK), options=b"\x01\x01\x01\x00", **to), dst=R0, src=S0)
    (came,) = router.carry([option])
    assert came[22] == 63  # the kernel forwarded it


FROM4, FROM6 = {"src": "192.0.2.2"}, {"src": "2001:db8:f::2"}
ANSWERS = {
    # a packet that passes: type, code and the four octets behind the checksum of what its sender is told
    "time exceeded": (0x0800, ipv4(udp(data=MARK), **FROM4, dst="203.0.113.9", ttl=1), (11, 0, 0)),
    "fragmentation needed": (
        *(0x0800, ipv4(udp(data=bytes(SMALL_MTU)), **FROM4, dst="203.0.120.9", fragment=0x4000)),
        (3, 4, SMALL_MTU),
    ),
    "hop limit exceeded": (0x86DD, ipv6(udp(data=MARK), **FROM6, dst="2001:db8:c::9", hop_limit=1), (3, 0, 0)),
    "packet too big": (0x86DD, ipv6(udp(data=bytes(SMALL_MTU)), **FROM6, dst="2001:db8:d::9"), (2, 0, SMALL_MTU)),
}


def test_the_kernel_answers_what_passes_with_the_icmp_that_it_deserves(router: Router) -> None:
    maps, egress = router.maps, int(router.maps.adjacencies["ifindex"][1])
    maps.store_adjacency(2, Adjacency(K0, R1, SMALL_MTU, AdjacencyState.UP, egress))
    maps.store_group(GROUP + 1, 2)
    maps.lpm4.update(abi.lpm4_keys(np.array([0xCB007800]), np.array([24])), GROUP + 1)
    network = np.array([0x20010DB8000D0000], np.uint64)
    maps.lpm6.update(abi.lpm6_keys(network, np.array([0], np.uint64), np.array([48])), GROUP + 1)
    before = read_reasons(maps)
    for kind, packet, told in ANSWERS.values():
        router.sender.send(ethernet(packet, kind, dst=R0, src=S0))
        answer = next_from_router(router.sender)
        at = 34 if kind == 0x0800 else 54
        assert struct.unpack_from("!BBxxI", answer, at) == told
        assert answer[at + 8 : at + 15] == packet[:7], "of what was sent; the kernel may have taken its hop limit down"
        assert answer[at + 20 : at + 36] == packet[12:28]
    after = read_reasons(maps)
    assert [(after[reason] - before[reason]).packets for reason in (Reason.PASS_TTL, Reason.PASS_MTU)] == [2, 2]


def next_from_router(sender: socket.socket) -> bytes:
    """The next ICMP error that comes in."""
    sender.settimeout(2)
    while True:
        frame, (_, _, direction, *_) = sender.recvfrom(65536)
        errors = {0x0800: (34, (3, 11)), 0x86DD: (54, (1, 2, 3))}.get(int.from_bytes(frame[12:14], "big"))
        if direction != socket.PACKET_OUTGOING and errors is not None and frame[errors[0]] in errors[1]:
            return frame


def test_tags_are_taken_off_put_on_and_rewritten(router: Router) -> None:
    """Every way in with every way out. This kernel may have no VLAN interfaces: it is XDP alone that reads tags."""
    maps, (egress, ingress) = router.maps, (int(n) for n in sorted(router.maps.tx_ports.keys().tolist()))
    if int(maps.adjacencies["ifindex"][1]) != egress:
        egress, ingress = ingress, egress
    for number, (tags, place, third) in enumerate(WAYS, 2):
        if tags:
            maps.accept_interface(ingress, R0, abi.Place(ingress, *place))
        maps.store_adjacency(number, Adjacency(K0, R1, 1400, AdjacencyState.UP, egress, *place))
        maps.store_group(GROUP + number, number)
        maps.lpm4.update(abi.lpm4_keys(np.array([0xCB000000 | third << 8]), np.array([24])), GROUP + number)
    sent, expected = [], []
    for came, _, _ in WAYS:
        for leaves, _, third in WAYS:
            for octets in (0, 600, 1350):
                before, after = (
                    ipv4(udp(data=MARK + bytes(octets)), dst=f"203.0.{third}.9", ttl=ttl) for ttl in (64, 63)
                )
                sent.append(stacked(before, came, dst=R0, src=S0))
                expected.append(stacked(after, leaves, dst=K0, src=R1))
    assert router.carry(sent) == expected
    forwarded = read_reasons(maps)[Reason.FORWARDED].packets
    assert forwarded >= len(sent)


def test_an_adjacency_that_goes_down_or_moves_is_followed_by_one_store(router: Router) -> None:
    frame = ethernet(ipv4(udp(data=MARK), dst="203.0.113.9"), dst=R0, src=S0)
    router.maps.set_adjacency_state(1, AdjacencyState.DOWN)
    (came,) = router.carry([frame])  # by the kernel
    assert came[:6] == K0
    router.maps.set_adjacency_state(1, AdjacencyState.UP)
    other = Adjacency(mac("02:00:00:00:00:99"), R1, 1500, AdjacencyState.UP, int(router.maps.adjacencies["ifindex"][1]))
    router.maps.store_adjacency(1, other)
    (came,) = router.carry([frame])
    assert came[:6] == other.dmac


def test_the_router_is_reached_by_its_own_address(router: Router) -> None:
    """ARP, ND and ping to the router itself pass the program."""
    keys = abi.lpm4_keys(np.array([0xC0000201]), np.array([32]))
    router.maps.lpm4.update(keys, abi.GROUP_PUNT)
    before = read_reasons(router.maps)[Reason.PASS_PUNT]
    router.sender.send(ethernet(ipv4(icmp(data=MARK), dst="192.0.2.1", protocol=1), dst=R0, src=S0))
    until = time.monotonic() + 1
    while read_reasons(router.maps)[Reason.PASS_PUNT] == before and time.monotonic() < until:
        time.sleep(0.005)
    assert (read_reasons(router.maps)[Reason.PASS_PUNT] - before).packets == 1


def test_a_source_is_checked_against_the_link_that_it_came_in_by(router: Router) -> None:
    """The kernel knows both connected networks, and says which one is behind r0."""
    connected = abi.lpm4_keys(np.array([0xC0000200, 0xC6336400]), np.array([24, 24]))
    router.maps.lpm4.update_batch(connected, np.full(2, abi.GROUP_PUNT, np.uint32))
    router.maps.check_sources(strict=True)
    sources = ("192.0.2.2", "198.51.100.9", "203.0.113.9", "100.64.0.1")
    frames = [ethernet(ipv4(udp(data=MARK), src=source, dst="203.0.113.9"), dst=R0, src=S0) for source in sources]
    before = read_reasons(router.maps)[Reason.DROP_REVERSE_PATH].packets
    (came,) = router.carry(frames)
    assert came[26:30] == bytes([192, 0, 2, 2])
    assert read_reasons(router.maps)[Reason.DROP_REVERSE_PATH].packets == before + 3


def test_no_more_packets_than_the_rate_are_passed_to_be_answered(router: Router) -> None:
    """One in a second and three at once, whatever the flood; what is to the router comes through."""
    router.maps.lpm4.update(abi.lpm4_keys(np.array([0xC0000201]), np.array([32])), abi.GROUP_PUNT)
    router.maps.control["punt_burst_ns"], router.maps.control["punt_cost_ns"] = 2_500_000_000, 1_000_000_000
    flood = ethernet(ipv4(udp(data=MARK), dst="203.0.113.9", ttl=1), dst=R0, src=S0)
    ours = ethernet(ipv4(udp(data=MARK), dst="192.0.2.1", ttl=1), dst=R0, src=S0)
    before, begun = read_reasons(router.maps), time.monotonic()
    for _ in range(100):
        router.sender.send(flood)
        router.sender.send(ours)
    forwarded = ethernet(ipv4(udp(data=MARK), dst="203.0.113.9"), dst=R0, src=S0)
    assert len(router.carry([forwarded])) == 1
    after, most = read_reasons(router.maps), 3 + int(time.monotonic() - begun + 1)
    passed = (after[Reason.PASS_TTL] - before[Reason.PASS_TTL]).packets - 100
    dropped = (after[Reason.DROP_PUNT_RATE] - before[Reason.DROP_PUNT_RATE]).packets
    assert passed + dropped == 100
    assert 0 <= passed <= most * len(os.sched_getaffinity(0)), "a bucket for each CPU"
