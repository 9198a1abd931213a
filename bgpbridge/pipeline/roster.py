"""The peers that there are: which lane each has, and what every room is told of one that comes, changes or goes."""

from __future__ import annotations

from bgpbridge.config import Config, Peer
from bgpbridge.feed.reader import LaneReader
from bgpbridge.pipeline.feeders import Feeders
from bgpbridge.pipeline.peers import PeerState, PeerTable, number_peers
from bgpbridge.pipeline.rib_settings import peer_info
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext
from bgpbridge.rib.loc_rib import Rib

__all__ = ["Roster"]


class Roster:
    """Introduces peers. `leaving` are the indices of removed ones whose routes are not all gone yet."""

    def __init__(self, peers: PeerTable, rib: Rib, judge: PolicyJudge, sessions: Sessions, feeders: Feeders) -> None:
        self.leaving: set[int] = set()
        self._peers, self._rib, self._judge = peers, rib, judge
        self._sessions, self._feeders = sessions, feeders

    def start(self, config: Config, reader: LaneReader) -> None:
        """All peers of the configuration, by the lanes that they had. Raises CapacityError."""
        numbers = number_peers(config, reader.memory.read_peers(), len(reader.lanes))
        reader.memory.write_peers(numbers)
        for peer in config.peers:
            self.add(config, peer, numbers[peer.name])

    def add(self, config: Config, peer: Peer, index: int) -> PeerState:
        """One that comes, with the configuration that it comes with."""
        state = self._peers.add(index, peer, config.local_asn(peer))
        self._tell(state)
        self._feeders.add(state)
        return state

    def change(self, state: PeerState, config: Config, peer: Peer) -> None:
        """One that is there goes by another configuration."""
        state.config, state.local_asn = peer, config.local_asn(peer)
        self._tell(state)

    def remove(self, peer: Peer) -> None:
        """One that goes; its index is free once its routes are gone."""
        state = self._peers.remove(peer.name)
        assert state is not None
        self.leaving.add(state.index)
        self._feeders.remove(state.index)

        def gone() -> None:
            self.leaving.discard(state.index)
            self._judge.remove_peer(state.index)

        self._sessions.drop(state, gone)
        if state.hold_off.retried:
            self._sessions.on_latch()

    def _tell(self, state: PeerState) -> None:
        config = state.config
        context = PeerContext(config.name, state.ebgp, config.import_policy, state.local_asn, config.role, config.asn)
        self._judge.set_peer(state.index, context)
        self._rib.add_peer(peer_info(state.index, config, state.ebgp))
