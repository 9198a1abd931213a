"""What `bgpbridge check` says about a configuration that is right but perhaps not what was meant, and what it
can only find out on the machine that will run it (password files)."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from functools import partial

from bgpbridge.config.http import read_token, tls_context
from bgpbridge.config.model import Config
from bgpbridge.config.peer import Peer
from bgpbridge.config.secrets import read_password
from bgpbridge.errors import DocumentError, Place, UsageError
from bgpbridge.policy.lint import Oddity, lint
from bgpbridge.policy.model import ACCEPT
from bgpbridge.types import Family

__all__ = ["advise", "missing_passwords", "unusable_http_files"]

SHARED_USER = "nobody"


def advise(config: Config) -> list[Oddity]:
    """Things to look at again, in the order of the file, then those of the policy files."""
    found: list[Oddity] = []
    for peer in config.peers:
        found += [*_import(config, peer), *_transport(peer), *_password_mode(peer)]
    return [*found, *_whole(config), *_policies(config), *lint(config.policy_set)]


def missing_passwords(config: Config) -> list[DocumentError]:
    """Peers whose password is not where the configuration says: they would not come up."""
    found = []
    for peer in config.peers:
        try:
            read_password(peer)
        except DocumentError as error:
            found.append(error)
    return found


def unusable_http_files(config: Config) -> list[DocumentError]:
    """Token, certificate and key that HTTP could not be served with: the bridge would not start."""
    found, http = [], config.http
    checks: list[Callable[[], object]] = []
    if http is not None and http.token_file is not None:
        checks.append(partial(read_token, http.token_file))
    if http is not None and http.tls is not None:
        checks.append(partial(tls_context, http.tls))
    for check in checks:
        try:
            check()
        except UsageError as error:
            found.append(DocumentError(Place(str(config.path)), error.what, mend=error.mend))
    return found


def _import(config: Config, peer: Peer) -> Iterator[Oddity]:
    if not config.is_ebgp(peer):
        return
    if peer.import_policy is None:
        text = f"external peer {peer.name} has no `import`: every route of it will be refused (RFC 8212)"
        yield Oddity(peer.place, text, "name a policy, or write `import: accept`")
    elif peer.import_policy == ACCEPT:
        text = f"external peer {peer.name} is believed everything: `import: accept`"
        yield Oddity(peer.place, text, "a policy with bogons and length limits is in configs/")


def _transport(peer: Peer) -> Iterator[Oddity]:
    if peer.address.version == 6 and Family.IPV4 in peer.families and not peer.extended_next_hop:
        text = f"peer {peer.name}: IPv4 routes over an IPv6 session, without IPv6 next hops"
        yield Oddity(peer.place, text, "`extended_next_hop: true` (RFC 8950), or remove ipv4 from `families`")
    if peer.hold_time_s == 0:
        yield Oddity(peer.place, f"peer {peer.name}: without a hold time a dead peer is never noticed", "90 is usual")


def _password_mode(peer: Peer) -> Iterator[Oddity]:
    file = peer.password.file if peer.password else None
    if file is not None and file.is_file() and file.stat().st_mode & stat.S_IROTH:
        yield Oddity(peer.place, f"peer {peer.name}: everybody can read {file}", f"chmod 600 {file}")


def _whole(config: Config) -> Iterator[Oddity]:
    place = Place(str(config.path))
    if not config.peers:
        yield Oddity(place, "there are no peers: nothing will be learned", "add one under `peers`")
    if not config.datapath.interfaces and not config.kernel.enabled:
        yield Oddity(place, "neither XDP nor the kernel gets routes", "name `datapath.interfaces`")
    if config.speaker.user == SHARED_USER and any(peer.password for peer in config.peers):
        text = f"ExaBGP's file with the passwords is readable by whatever else runs as `{SHARED_USER}`"
        yield Oddity(place, text, "useradd --system bgpbridge, and `speaker: {user: bgpbridge}`")
    if config.http and not config.http.loopback:
        text = f"routes, peers and metrics can be read by everybody who reaches {config.http.address}"
        yield Oddity(place, text, "listen on 127.0.0.1, or keep a firewall in front")


def _policies(config: Config) -> Iterator[Oddity]:
    used = {peer.import_policy for peer in config.peers}
    names = {peer.name for peer in config.peers}
    for policy in config.policy_set.policies.values():
        if policy.name not in used and policy.name not in config.policy_set.included:
            yield Oddity(policy.place, f"policy {policy.name} is the `import` of no peer")
        if policy.asks_rpki and not (config.rpki.files or config.rpki.servers):
            text = f"policy {policy.name} asks what RPKI says, and there is no source of VRPs: all is not-found"
            yield Oddity(policy.place, text, "name `rpki.files` or `rpki.servers` in the configuration")
        for term in policy.terms:
            wanted = {n for match in (*term.matches, *term.unless) for part in match.peer for n in part.names}
            for name in sorted(wanted - names):
                yield Oddity(term.place, f"term {term.name} asks for the peer `{name}`, which there is not")
