"""The kernel as oracle: the same random packets through XDP and through plain ip_forward leave by the same
interface with the same bytes.

One router between four veth; first its fast path forwards, then the kernel alone. What XDP passes the kernel forwards
both times, so every difference is XDP's. Two differences are none: XDP leaves the padding behind a packet as it came,
where the kernel cuts it off; and the kernel drops IPv4 packets whose source is its own address, which XDP sees only
with a reverse-path check (no such source here).

    sender s0 ── r0 router r1 ── k1 sink      routes of both families behind k1, k2 and k3, and back behind s0;
                           r2 ── k2           r2 has a small MTU, behind k3 IPv4 goes by an IPv6 next hop
                           r3 ── k3
"""

from __future__ import annotations

import itertools
import os
import random
import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, attach
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Reason
from bgpbridge.datapath.attach import Wanted
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.frames import ETH_IPV4, ETH_IPV6, ethernet, ipv4, mac, udp
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.types import Family, Prefix
from tests.bpf.random_packets import Pool, number_of, random_packet, shares
from tests.bpf.test_wire import gro_on, packet_socket

pytestmark = pytest.mark.root
BATCH = 128
LONGEST = 1600
EXITS = {  # interface -> MTU, routes behind it
    "r1": (1500, ("203.0.113.0/24", "2001:db8:c1::/48")),
    "r2": (1300, ("203.0.114.0/24", "2001:db8:c2::/48")),
    "r3": (1500, ("203.0.115.0/24", "2001:db8:c3::/48")),
    "r0": (2000, ("203.0.116.0/24", "2001:db8:c4::/48")),
}
NUMBERS = {name: number for number, name in enumerate(EXITS, 1)}
ROUTER = {name: mac(f"02:00:00:00:01:{n:02x}") for name, n in NUMBERS.items()}
FAR = {name: mac(f"02:00:00:00:02:{n:02x}") for name, n in NUMBERS.items()}
OWN = {
    *(Prefix.parse(f"192.0.2.{16 * n + 1}/32") for n in NUMBERS.values()),
    *(Prefix.parse(f"2001:db8:{n}::1/128") for n in NUMBERS.values()),
}
CONNECTED = {
    *(Prefix.parse(f"192.0.2.{16 * n}/28") for n in NUMBERS.values()),
    *(Prefix.parse(f"2001:db8:{n}::/64") for n in NUMBERS.values()),
}
BLACKHOLES = ("203.0.113.66/32", "2001:db8:c1::66/128")
POOLS = (
    Pool(
        sources=shares(
            "192.0.2.66=60 10.9.8.*=20 203.0.113.*=2 127.0.0.1 0.0.0.0 224.0.0.5 169.254.0.* 240.0.0.1 255.255.255.255"
        ),
        destinations=shares(
            "203.0.113.*=30 203.0.114.*=30 203.0.115.*=20 203.0.116.*=10 203.0.113.66=3 192.0.2.17=2 192.0.2.31=2 "
            "192.0.2.16 192.0.2.30 198.18.0.1=2 224.0.0.* 239.1.2.3 255.255.255.255 127.0.0.1 0.0.0.0 169.254.0.* "
            "240.0.0.1"
        ),
    ),
    Pool(
        sources=shares(
            "2001:db8:4::66=60 2001:db8:99::*=20 2001:db8:c1::*=2 ::1 :: ff02::1 fe80::* ::ffff:10.0.0.1 fd00::1"
        ),
        destinations=shares(
            "2001:db8:c1::*=30 2001:db8:c2::*=30 2001:db8:c3::*=20 2001:db8:c4::*=10 2001:db8:c1::66=3 2001:db8:1::1=2 "
            "2001:db8:1::=2 2001:db8:1::30 fec0::1 2001:4860::1=2 ff02::* ff0e::1 ::1 :: fe80::* ::ffff:203.0.113.1 "
            "2002::1"
        ),
    ),
)


@dataclass
class Router:
    maps: Maps
    sender: socket.socket
    sinks: dict[str, socket.socket]


def configure(sender, router, sink) -> None:
    for name, (mtu, _) in EXITS.items():
        space, far = (sender, "s0") if name == "r0" else (sink, f"k{name[1]}")
        router.ip(f"link add {name} type veth peer name {far} netns {space.name}")
        for owner, interface, address in ((router, name, ROUTER[name]), (space, far, FAR[name])):
            owner.ip(f"link set {interface} address {address.hex(':')} mtu {mtu}")
        with router.inside():
            Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0\n")
    switches = (
        "ipv4/ip_forward=1",
        "ipv4/conf/all/rp_filter=0",
        "ipv4/conf/all/send_redirects=0",
        "ipv6/conf/all/forwarding=1",
    )
    each = ("ipv4/conf/{}/rp_filter=0", "ipv4/conf/{}/send_redirects=0")
    with router.inside():
        for switch in (
            *switches,
            "ipv6/conf/all/forwarding=1",
            *(text.format(name) for name in EXITS for text in each),
        ):
            path, _, value = switch.partition("=")
            Path("/proc/sys/net", path).write_text(f"{value}\n")
    for name, number in NUMBERS.items():
        (sender if name == "r0" else sink).ip(f"link set {'s0' if name == 'r0' else f'k{name[1]}'} up")
        router.ip(f"link set {name} up")
        router.ip(f"addr add 192.0.2.{16 * number + 1}/28 brd + dev {name}")
        router.ip(f"addr add 2001:db8:{number}::1/64 dev {name} nodad")
        hop4, hop6 = f"192.0.2.{16 * number + 2}", f"2001:db8:{number}::2"
        for hop in (hop4, hop6):
            router.ip(f"neigh replace {hop} lladdr {FAR[name].hex(':')} dev {name} nud permanent")
        route4, route6 = EXITS[name][1]
        router.ip(f"route add {route4} via {f'inet6 {hop6}' if name == 'r3' else hop4} dev {name}")
        router.ip(f"route add {route6} via {hop6} dev {name}")
    for text in BLACKHOLES:
        router.ip(f"route add blackhole {text}")
    for space, far in ((sender, "s0"), (sink, "k1"), (sink, "k2"), (sink, "k3")):
        with space.inside():
            gro_on(far)


def store(maps: Maps, prefix: Prefix, group: int) -> None:
    length = np.array([prefix.length])
    if prefix.family is Family.IPV4:
        maps.lpm4.update(abi.lpm4_keys(np.array([prefix.value]), length), group)
    else:
        halves = (np.array([half], np.uint64) for half in divmod(prefix.value, 1 << 64))
        maps.lpm6.update(abi.lpm6_keys(*halves, length), group)


def fill(maps: Maps, ports: dict[str, int]) -> None:
    for name, number in NUMBERS.items():
        mtu, routes = EXITS[name]
        maps.accept_interface(ports[name], ROUTER[name])
        maps.store_adjacency(number, Adjacency(FAR[name], ROUTER[name], mtu, AdjacencyState.UP, ports[name]))
        maps.store_group(abi.GROUP_FIRST_FREE + number, number)
        for route in routes:
            store(maps, Prefix.parse(route), abi.GROUP_FIRST_FREE + number)
    for prefix in OWN | CONNECTED:
        store(maps, prefix, abi.GROUP_PUNT)
    for text in BLACKHOLES:
        store(maps, Prefix.parse(text), abi.GROUP_BLACKHOLE)


@pytest.fixture(params=[Wanted.NATIVE, Wanted.GENERIC], ids=str)
def router(request, namespaces, pin_path: Path, compiled: Path, monkeypatch) -> Iterator[Router]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    sender, middle, sink = (namespaces(name) for name in "srk")
    configure(sender, middle, sink)
    maps = Maps.create(Sizes(100, 100, indexed=False))
    program = load(maps.fds, Loader.LIBBPF)
    ports = {name: middle.index(name) for name in EXITS}
    with middle.inside():
        fill(maps, ports)
        for ifindex in ports.values():
            attach.attach(program.fd, ifindex, pin_path, request.param)
    program.close()
    sinks = {name: packet_socket(sink, f"k{name[1]}") for name in EXITS if name != "r0"}
    sinks["r0"] = packet_socket(sender, "s0")
    try:
        yield Router(maps, sinks["r0"], sinks)
    finally:
        for each in sinks.values():
            each.close()
        with middle.inside():
            attach.detach_all(pin_path)
        maps.close()


MARK = b"the batch ends here"


def marks() -> list[bytes]:
    """Two packets out by each exit: one that XDP forwards and one that it passes, which come last of their kind."""
    made = []
    for _, (route4, _) in EXITS.values():
        for options in (b"", b"\1\1\1\0"):
            packet = ipv4(udp(data=MARK), src="192.0.2.66", dst=route4.replace("0/24", "250"), options=options)
            made.append(ethernet(packet, dst=ROUTER["r0"], src=FAR["r0"]))
    return made


def carry(router: Router, frames: list[bytes]) -> dict[int, list[tuple[str, bytes]]]:
    """Send a batch; what came out, by the packets' numbers: interface and frame."""
    for frame in itertools.chain(frames, marks()):
        router.sender.send(frame)
    came: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
    waiting = {each.fileno(): [name, each, 2] for name, each in router.sinks.items()}
    until = time.monotonic() + 5
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], max(until - time.monotonic(), 0))
        assert ready, f"no end of the batch at {[name for name, _, _ in waiting.values()]}"
        for number in ready:
            name, each, _ = waiting[number]
            frame, (_, _, direction, *_) = each.recvfrom(65536)
            if direction == socket.PACKET_OUTGOING:
                continue
            if frame.endswith(MARK):
                waiting[number][2] -= 1
                if not waiting[number][2]:
                    del waiting[number]
            else:
                file(came, name, frame)
    return came


def file(came: dict[int, list[tuple[str, bytes]]], name: str, frame: bytes) -> None:
    """Put a frame to its number, without padding, unless the router itself wrote it (errors, ND, ARP)."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    packet = frame[14:]
    number = number_of(packet, kind)
    if number is None:
        return
    if kind == ETH_IPV4:
        source = Prefix(Family.IPV4, int.from_bytes(packet[12:16], "big"), 32)
        octets = int.from_bytes(packet[2:4], "big")
    else:
        source = Prefix(Family.IPV6, int.from_bytes(packet[8:24], "big"), 128)
        octets = 40 + int.from_bytes(packet[4:6], "big")
    if source in OWN or (kind == ETH_IPV6 and packet[8:10] == b"\xfe\x80"):
        return
    came[number].append((name, frame[: 14 + octets]))


def told(frames: list[tuple[str, bytes]]) -> list[str]:
    return [f"{name}: {len(frame)} octets, {frame[:80].hex()}" for name, frame in frames]


def differences(sent: list[bytes], ours: dict, kernels: dict) -> list[str]:
    return [
        f"{told([('in', frame)])}\n  XDP:    {told(ours.get(number, []))}\n  kernel: {told(kernels.get(number, []))}"
        for number, frame in enumerate(sent)
        if sorted(ours.get(number, [])) != sorted(kernels.get(number, []))
    ]


def test_random_packets_leave_as_the_kernel_sends_them(router: Router, request: pytest.FixtureRequest) -> None:
    count = 50_000 if "native" in request.node.name else 10_000
    seed = int(os.environ.get("BGPBRIDGE_SEED", random.randrange(1 << 32)))
    print(f"BGPBRIDGE_SEED={seed}")
    dice = random.Random(seed)
    begun = read_reasons(router.maps)
    for _ in range(0, count, BATCH):
        sent = [
            ethernet(packet, kind, dst=ROUTER["r0"], src=FAR["r0"])
            for kind, packet in (random_packet(dice, number, POOLS, LONGEST) for number in range(BATCH))
        ]
        router.maps.enable(True)
        ours = carry(router, sent)
        router.maps.enable(False)
        kernels = carry(router, sent)
        assert not (wrong := differences(sent, ours, kernels)), "\n".join([f"seed {seed}", *wrong])
    ended = read_reasons(router.maps)
    counted = {reason: (ended[reason] - begun[reason]).packets for reason in Reason}
    print({reason.label: packets for reason, packets in counted.items() if packets})
    assert counted[Reason.FORWARDED] > count / 4
