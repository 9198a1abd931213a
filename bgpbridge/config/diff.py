"""What changes between two configurations, sorted by what it takes to bring it about.

A reload acts on this: peers come and go without touching the others, a session is reset only where OPEN or TCP
must change, policies judge again only the peers that they concern, and what only a restart can change is
named to the operator instead of being half done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from bgpbridge.config.model import Config
from bgpbridge.config.peer import ACCEPT, Peer

__all__ = ["LIVE_DATAPATH", "ConfigDiff", "PeerChange", "diff"]

LIVE_PEER_KEYS = frozenset(
    {"import_policy", "announce", "weight", "description", "add_path_limit", "max_prefix", "bfd", "health"}
)
LIVE_KEYS = frozenset(
    {"peers", "peer_defaults", "policies", "decision", "log", "graceful_restart", "audit", "rpki", "health", "latency"}
)
LIVE_DATAPATH = ("reverse_path", "flow_label", "punt_rate", "grow")
"""Keys of `datapath` that hold at once, while packets pass."""
LIVE_IN_DATAPATH = frozenset(f"datapath.{name}" for name in LIVE_DATAPATH)
IN_OPEN = frozenset({"router.asn", "router.router_id"})  # change peer by peer, as sessions are reset


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A peer that stays but is not the same. `keys` are those that differ."""

    old: Peer
    new: Peer
    keys: frozenset[str]

    @property
    def resets_session(self) -> bool:
        """True when TCP or OPEN must change, so that the session cannot go on."""
        return bool(self.keys - LIVE_PEER_KEYS)


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """Two configurations compared."""

    peers_added: tuple[Peer, ...] = ()
    peers_removed: tuple[Peer, ...] = ()
    peers_changed: tuple[PeerChange, ...] = ()
    rejudge: frozenset[str] = frozenset()
    """Names of peers whose routes must be judged again: another import policy, or the same one rewritten."""
    decision: bool = False
    """The decision process has other options: the whole table is decided again."""
    live: tuple[str, ...] = ()
    """Other keys that change at once, such as `log.level`."""
    restart: tuple[str, ...] = ()
    """Keys that need a restart of the daemon; until then the old values hold."""

    @property
    def empty(self) -> bool:
        """True when nothing at all differs."""
        return self == ConfigDiff()


def diff(old: Config, new: Config) -> ConfigDiff:
    """From the configuration that runs to the one that should. Peers are told apart by name; one that got
    another address is a changed peer whose session is reset."""
    before = {peer.name: peer for peer in old.peers}
    after = {peer.name: peer for peer in new.peers}
    changes = [_peer_change(before[name], peer, old, new) for name, peer in after.items() if name in before]
    keys = [key for key in _differing(old, new) if key.split(".")[0] not in {"peers", "peer_defaults", "policies"}]
    keys = [key for key in keys if key not in IN_OPEN]
    live = [
        key for key in keys if key.split(".")[0] in LIVE_KEYS or key in {f"datapath.{name}" for name in LIVE_DATAPATH}
    ]
    return ConfigDiff(
        peers_added=tuple(peer for name, peer in after.items() if name not in before),
        peers_removed=tuple(peer for name, peer in before.items() if name not in after),
        peers_changed=tuple(change for change in changes if change.keys),
        rejudge=frozenset(name for name, peer in after.items() if name in before and _judged_anew(peer, old, new)),
        decision=old.decision != new.decision,
        live=tuple(key for key in live if key.split(".")[0] != "decision"),
        restart=tuple(key for key in keys if key not in live),
    )


def _peer_change(old: Peer, new: Peer, before: Config, after: Config) -> PeerChange:
    keys = {name for name in Peer.model_fields if getattr(old, name) != getattr(new, name)}
    if before.local_asn(old) != after.local_asn(new):
        keys.add("local_asn")
    if before.router.router_id != after.router.router_id:
        keys.add("router_id")  # it stands in OPEN
    return PeerChange(old, new, frozenset(keys))


def _judged_anew(peer: Peer, old: Config, new: Config) -> bool:
    previous = old.peer(peer.name)
    assert previous is not None
    return _verdicts(previous, old) != _verdicts(peer, new)


def _verdicts(peer: Peer, config: Config) -> tuple[object, ...]:
    """What decides on a peer's routes: the meaning of its policy, whether RFC 8212 speaks, and RFC 9234."""
    name = peer.import_policy
    policy = config.policy_set.policies.get(name or "")
    meaning = policy.digest if policy and name != ACCEPT else str(name)
    return meaning, config.is_ebgp(peer), peer.role, peer.asn if peer.role is not None else 0


def _differing(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys whose values differ."""
    for name in type(old).model_fields:
        ours, theirs = getattr(old, name), getattr(new, name)
        if isinstance(ours, BaseModel) and isinstance(theirs, BaseModel):
            yield from _differing(ours, theirs, f"{prefix}{name}.")
        elif ours != theirs:
            yield prefix + name
