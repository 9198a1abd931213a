"""Containerlab files: what nodes inherit, what links say, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.errors import DocumentError
from bgpbridge.lab.topology import Daemon, load

LABS = sorted((Path(__file__).parents[3] / "lab").glob("*.clab.yml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "x.clab.yml"
    path.write_text(text)
    return path


INHERITED = """
name: x
topology:
  defaults:
    env: {A: defaults, B: defaults}
    exec: [ip link]
    binds: ["one:/etc/frr/frr.conf"]
  kinds:
    linux: {env: {B: kind, C: true}, sysctls: {net.ipv4.ip_forward: 1}}
  groups:
    routers: {kind: linux, image: group-image, env: {D: 4}}
  nodes:
    r: {group: routers, env: {A: own}, exec: [ip route], binds: ["two:/etc/frr/frr.conf"]}
    h: {kind: linux}
  links:
    - endpoints: ["r:eth1", "h:eth1"]
    - {type: veth, mtu: 9000, endpoints: [{node: r, interface: eth2, mac: "02:00:00:00:00:01", ipv4: 10.0.0.1/30},
                                          {node: h, interface: eth2}]}
"""


@pytest.fixture
def inherited(tmp_path: Path) -> Path:
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    return written(tmp_path, INHERITED)


def test_maps_merge_and_the_particular_wins(inherited: Path) -> None:
    router = load(inherited).nodes[0]
    assert router.env == {"A": "own", "B": "kind", "C": "true", "D": "4"}
    assert router.sysctls == {"net.ipv4.ip_forward": "1"}
    assert router.image == "group-image"


def test_exec_runs_the_general_first_and_a_bind_is_replaced_by_its_target(inherited: Path) -> None:
    router = load(inherited).nodes[0]
    assert router.exec == ("ip link", "ip route")
    assert [bind.source.name for bind in router.binds] == ["two"]
    assert router.bound("/etc/frr/frr.conf") == inherited.parent / "two"


def test_links_in_both_forms(inherited: Path) -> None:
    short, extended = load(inherited).links
    assert (short.a.node, short.a.interface, short.mtu) == ("r", "eth1", 1500)
    assert (extended.a.mac, extended.a.addresses, extended.mtu) == ("02:00:00:00:00:01", ("10.0.0.1/30",), 9000)


def test_mac_addresses_are_the_same_in_every_run_and_differ_between_ends(inherited: Path) -> None:
    first, second = load(inherited), load(inherited)
    assert first == second
    macs = [end.mac for link in first.links for end in (link.a, link.b)]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered, not a group"


@pytest.mark.parametrize("file", LABS, ids=[file.stem for file in LABS])
def test_an_exabgp_in_a_container_reaches_the_socket_of_the_bridge_whose_network_it_shares(file: Path) -> None:
    nodes = {node.name: node for node in load(file).nodes}
    for node in nodes.values():
        if node.daemon is Daemon.EXABGP and node.host in nodes:
            shared = node.bound("/run/bgpbridge")
            assert shared is not None
            assert shared == nodes[node.host].bound("/run/bgpbridge")


def test_a_real_topology_of_containerlab(shared_data: Path) -> None:
    topology = load(shared_data / "topologies/clab-frr01/frr01.clab.yml")
    assert [node.daemon for node in topology.nodes] == [Daemon.FRR] * 3 + [Daemon.HOST] * 3
    assert topology.interfaces("router1") == ("eth1", "eth2", "eth3")
    assert topology.nodes[0].exec == ()
    assert len(topology.nodes[3].exec) == 4


def test_a_node_may_share_the_network_of_another_one(tmp_path: Path) -> None:
    nodes = "{a: {kind: linux}, b: {kind: linux, network-mode: container:a}, c: {kind: linux, network-mode: MODE}}"
    text = f"name: x\ntopology: {{nodes: {nodes}}}\n"
    topology = load(written(tmp_path, text.replace("MODE", "container:clab-other-r1")))
    assert [node.host for node in topology.nodes] == ["", "a", "clab-other-r1"]
    assert [node.host for node in load(written(tmp_path, text.replace("MODE", "host"))).nodes] == ["", "a", ""]


def test_who_shares_a_network_has_no_links(tmp_path: Path) -> None:
    nodes = "{a: {kind: linux}, b: {kind: linux, network-mode: container:a}}"
    links = '[{endpoints: ["a:eth1", "b:eth1"]}]'
    with pytest.raises(DocumentError, match=r"(?s)node b shares a network and has a link.*give the link to a"):
        load(written(tmp_path, f"name: x\ntopology: {{nodes: {nodes}, links: {links}}}\n"))


@pytest.mark.parametrize("path", LABS, ids=lambda p: p.name)
def test_our_labs_load_and_each_has_an_edge_of_ours(path: Path) -> None:
    topology = load(path)
    assert f"{topology.name}.clab.yml" == path.name
    edge = topology.node("edge")
    assert edge is not None
    assert edge.daemon is Daemon.BGPBRIDGE
    assert edge.bound("/etc/bgpbridge/bgpbridge.yaml") is not None, "found in the folder that is bound"


MISTAKES = [
    ("bnds: [a:b]", ":5:", "did you mean `binds`"),
    ("kind: nokia_srlinux", ":5:", "only `kind: linux`"),
    ("{kind: linux, env: {BGPBRIDGE_NODE: brid}}", ":4:", "did you mean `bird`"),
    ('{kind: linux, binds: ["nowhere:/etc/x"]}', ":4:", "there is no"),
    ('{kind: linux, exec: ["echo \'open"]}', ":4:", "not a command"),
    ("{kind: linux, network-mode: container:b}", ":4:", "there is no node b"),
    ("{kind: linux, network-mode: container:a}", ":4:", "a has no network of its own"),
]


@pytest.mark.parametrize(("node", "place", "said"), MISTAKES)
def test_a_mistake_in_a_node_is_told_with_its_place(tmp_path: Path, node: str, place: str, said: str) -> None:
    body = node if node.startswith("{") else f"\n      {node}"
    path = written(tmp_path, f"name: x\ntopology:\n  nodes:\n    a: {body}\n")
    with pytest.raises(DocumentError) as caught:
        load(path)
    assert place in str(caught.value)
    assert said in str(caught.value)


LINK_MISTAKES = [
    ('{endpoints: ["a:eth1", "c:eth1"]}', "no node `c`"),
    ('{endpoints: ["a:eth1", "a:eth1"]}', "end of two links"),
    ('{endpoints: ["a:eth1"]}', "two endpoints"),
    ('{endpoints: ["a:eth1", "b:a-name-that-is-too-long"]}', "no name for an interface"),
    ("{type: host, endpoint: {node: a, interface: eth1}, host-interface: x}", "of type `host`"),
    ('{endpoints: ["a:eth1", "b:eth1"], ipv4: [10.0.0/8]}', "no address"),
]


@pytest.mark.parametrize(("link", "said"), LINK_MISTAKES)
def test_a_mistake_in_a_link_is_told_with_its_place(tmp_path: Path, link: str, said: str) -> None:
    nodes = "{a: {kind: linux}, b: {kind: linux}}"
    path = written(tmp_path, f"name: x\ntopology:\n  nodes: {nodes}\n  links:\n    - {link}\n")
    with pytest.raises(DocumentError) as caught:
        load(path)
    assert ":5:" in str(caught.value)
    assert said in str(caught.value)
