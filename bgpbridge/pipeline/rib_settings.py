"""The configuration in the RIB's terms: the decision's options, and what it has to know of a peer."""

from __future__ import annotations

from bgpbridge.config import Peer
from bgpbridge.config.model import Decision
from bgpbridge.pipeline.limits import ceilings_of
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.peers import PeerInfo

__all__ = ["decision_options", "peer_info"]


def decision_options(decision: Decision) -> DecisionOptions:
    """The decision's knobs from the configuration."""
    return DecisionOptions(
        med=decision.med,
        missing_med=decision.missing_med,
        compare_router_id=decision.compare_router_id,
        prefer_oldest=decision.prefer_oldest,
        ebgp_paths=decision.multipath.ebgp,
        ibgp_paths=decision.multipath.ibgp,
        relax=decision.multipath.relax,
        backups=decision.backups,
    )


def peer_info(index: int, peer: Peer, ebgp: bool) -> PeerInfo:
    """What the RIB needs to know of a peer."""
    return PeerInfo(
        index=index,
        name=peer.name,
        address=peer.address,
        asn=peer.asn,
        ebgp=ebgp,
        weight=peer.weight,
        add_path_limit=peer.add_path_limit,
        ceilings=ceilings_of(peer.max_prefix),
    )
