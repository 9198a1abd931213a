"""The configuration file as values: one model per top-level key, frozen, with the meaning of each key.

The docstring under a key is what editors show (`bgpbridge schema`) and what a message says that misses it.
Load it with `config.load`; building a Config by hand is for tests (`Config.model_validate({...})`).
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from bgpbridge.config.health import HealthSection
from bgpbridge.config.http import Http
from bgpbridge.config.latency import Latency
from bgpbridge.config.peer import Peer, PeerDefaults
from bgpbridge.config.rpki import Rpki
from bgpbridge.config.values import Asn, FilePath, InterfaceName, Name, RouterId
from bgpbridge.documents import Strict, refuse
from bgpbridge.policy.model import PolicySet
from bgpbridge.rib.decision import MedMode, MissingMed

__all__ = [
    "Audit",
    "Config",
    "Datapath",
    "Decision",
    "GracefulRestart",
    "Http",
    "Kernel",
    "Loader",
    "Log",
    "MedMode",
    "MissingMed",
    "Mode",
    "Multipath",
    "Router",
    "Runtime",
    "Speaker",
]

NEXTHOP_ID_BASE = 1_650_000_000  # far above the ids that people and other daemons pick


class Loader(enum.StrEnum):
    """What compiles and loads the datapath."""

    AUTO = "auto"
    BCC = "bcc"
    LIBBPF = "libbpf"


class Mode(enum.StrEnum):
    """Where XDP runs: in the driver, in the stack, or in the driver if it can."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


class ReversePath(enum.StrEnum):
    """Whether packets are dropped whose source has no route, or none by where they came in (RFC 3704)."""

    OFF = "off"
    LOOSE = "loose"
    STRICT = "strict"


class Engine(enum.StrEnum):
    """What finds a packet's route: the index where the table is large, one of them always."""

    AUTO = "auto"
    INDEX = "index"
    LPM = "lpm"


class Router(Strict):
    """Who we are."""

    synonyms: ClassVar[dict[str, str]] = {"as": "asn", "local_as": "asn", "id": "router_id", "hostname": "name"}

    asn: Asn = Field(examples=[65000])
    """Our AS number."""
    router_id: RouterId = Field(examples=["192.0.2.1"])
    """Our BGP Identifier (RFC 4271 s4.2, RFC 6286): four octets, no other router's in our AS."""
    name: Name = "bgpbridge"
    """Our name in logs and metrics."""


class Multipath(Strict):
    """How many routes of equal rank carry traffic together; 1 is the best one only."""

    ebgp: int = Field(default=1, ge=1, le=64)
    """Routes of external peers."""
    ibgp: int = Field(default=1, ge=1, le=64)
    """Routes of internal peers."""
    relax: bool = False
    """Also together: AS paths of equal length through different neighbours."""


class Decision(Strict):
    """How the best route is found (RFC 4271 s9.1)."""

    med: MedMode = MedMode.SAME_NEIGHBOR
    """Compare MED between routes of the same neighbour AS, always, or ignore it."""
    missing_med: MissingMed = MissingMed.BEST
    """A route without MED counts as 0 (best) or as the highest value (worst)."""
    compare_router_id: bool = True
    """Let the lower BGP Identifier win between external routes (false: the peer address decides)."""
    prefer_oldest: bool = False
    """Keep the external route that came first (RFC 5004)."""
    multipath: Multipath = Multipath()
    """Routes of equal rank that carry traffic together."""
    backups: int = Field(default=2, ge=0, le=8)
    """Routes behind the best that are kept ready in each next-hop group."""
    resolve_via_default: bool = False
    """Let a next hop be resolved through a default route."""


class Datapath(Strict):
    """XDP: where it is attached and how large its tables are."""

    synonyms: ClassVar[dict[str, str]] = {"interface": "interfaces", "devices": "interfaces", "xdp_mode": "mode"}

    interfaces: tuple[InterfaceName, ...] = ()
    """Interfaces whose packets XDP forwards: names or globs; none: the kernel forwards alone."""
    loader: Loader = Loader.AUTO
    """What compiles and loads the program: BCC, libbpf (ahead of time), or whichever is there."""
    mode: Mode = Mode.AUTO
    """XDP in the driver (native), in the stack (generic), or in the driver where it can."""
    engine: Engine = Engine.AUTO
    """What finds a route: the LPM trie alone (least memory), the index in front of it, or the index from ten routes
    on (auto)."""
    pin_path: FilePath = Path("/sys/fs/bpf/bgpbridge")
    """A folder on a bpffs that keeps maps and links while no daemon runs."""
    group_slots: Literal[64, 128, 256, 512] = 64
    """Slots of a next-hop group: more of them keep finer weights, and cost 64 KiB each for all groups."""
    max_ipv4: int = Field(default=1_200_000, ge=1024, le=16_000_000)
    """Room for IPv4 prefixes."""
    max_ipv6: int = Field(default=400_000, ge=1024, le=16_000_000)
    """Room for IPv6 prefixes."""
    grow: bool = True
    """Make twice the room before it is used up, where memory allows; false: what is beyond it is refused."""
    reverse_path: ReversePath = ReversePath.OFF
    """Drop packets whose source has no route (loose), or none by the link that they came in by (strict; RFC 3704)."""
    flow_label: bool = False
    """Let the IPv6 flow label choose among paths too, beside addresses and ports."""
    punt_rate: int = Field(default=0, ge=0, le=10_000_000)
    """Packets a second, for each CPU and reason, that the kernel is asked to answer (TTL, MTU, no route); 0: any."""
    allow_netfilter_bypass: bool = False
    """Attach though FORWARD rules of netfilter exist, which packets in XDP never meet."""


class Kernel(Strict):
    """The kernel's routing table, which has the same routes as XDP."""

    enabled: bool = True
    """Write routes into the kernel at all."""
    table: int = Field(default=254, ge=1, le=0xFFFFFFFF)
    """The routing table; 254 is `main`."""
    protocol: int = Field(default=203, ge=5, le=255)
    """The number that marks routes as ours (`ip route show proto 203`); nobody else's."""
    metric: int = Field(default=200, ge=1, le=0xFFFFFFFF)
    """The metric of our IPv4 routes: nobody else's, or one would overwrite the other."""
    metric_ipv6: int = Field(default=2000, ge=1, le=0xFFFFFFFF)
    """The same for IPv6, above the kernel's own routes there: 256 for connected, 1024 for static ones."""
    nexthop_id_base: int = Field(default=NEXTHOP_ID_BASE, ge=1, le=0xFFFF0000)
    """The first of the 65,536 ids that our nexthop objects take."""

    @model_validator(mode="after")
    def _free_numbers(self) -> Kernel:
        if self.protocol == 186:
            raise refuse("protocol 186 is `bgp`: FRR and BIRD use it", "a number of our own", "203 is free")
        if self.table == 255:
            raise refuse("table 255 is the kernel's own (`local`)", "another table", "254 is `main`")
        return self


class Speaker(Strict):
    """The process that runs ExaBGP."""

    user: str = Field(default="nobody", min_length=1)
    """The user that it runs as, without privileges."""
    lane_mib: int = Field(default=4, ge=1, le=64)
    """MiB of shared memory per peer between speaker and bridge; a full lane slows that peer's TCP only."""


class Runtime(Strict):
    """Files that exist while we run."""

    directory: FilePath = Path("/run/bgpbridge")
    """The folder of the control socket, ExaBGP's configuration and our state."""
    feed_user: str | None = Field(default=None, min_length=1)
    """The user whose processes may feed peers of `source: pipe` or `replay`, beside root: that of your ExaBGP."""


class GracefulRestart(Strict):
    """What becomes of routes while a peer, or the speaker, restarts (RFC 4724)."""

    stale_time_s: int = Field(default=360, ge=1, le=86400)
    """Seconds that stale routes are kept when no End-of-RIB comes."""


class Audit(Strict):
    """XDP and kernel are compared with the Loc-RIB in the background, and brought in line."""

    cpu_permille: int = Field(default=1, ge=0, le=100)
    """Thousandths of one CPU that it may use; 0 for never."""


class Log(Strict):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines to show."""


class Config(Strict):
    """The whole file."""

    synonyms: ClassVar[dict[str, str]] = {
        "neighbors": "peers",
        "neighbours": "peers",
        "neighbor": "peers",
        "xdp": "datapath",
        "fib": "kernel",
        "policy": "policies",
        "bestpath": "decision",
        "prometheus": "http",
        "metrics": "http",
        "metric": "http",
        "api": "http",
        "exabgp": "speaker",
        "logging": "log",
        "healthchecks": "health",
    }

    router: Router = Field(examples=["{asn: 65000, router_id: 192.0.2.1}"])
    """Who we are: AS number and BGP Identifier."""
    peer_defaults: PeerDefaults = PeerDefaults()
    """Options that every peer has unless it says otherwise."""
    peers: tuple[Peer, ...] = ()
    """The BGP peers."""
    decision: Decision = Decision()
    """How the best route is found."""
    policies: tuple[FilePath, ...] = ()
    """Route-policy files, or globs of them; relative to this file."""
    datapath: Datapath = Datapath()
    """XDP."""
    kernel: Kernel = Kernel()
    """The kernel's routing table."""
    speaker: Speaker = Speaker()
    """The process that runs ExaBGP."""
    runtime: Runtime = Runtime()
    """Files that exist while we run."""
    http: Http | None = Http()
    """HTTP: metrics, health, the API and the page; null for none."""
    graceful_restart: GracefulRestart = GracefulRestart()
    """Stale routes."""
    rpki: Rpki = Rpki()
    """Where VRPs come from, for policies that ask for RPKI states."""
    health: HealthSection = HealthSection()
    """Checks of next hops, peers and services."""
    audit: Audit = Audit()
    """The comparison in the background."""
    latency: Latency | None = None
    """Probes of the ways out, and what follows from them; left out: off."""
    log: Log = Log()
    """Log lines."""

    _policy_set: PolicySet = PrivateAttr(default_factory=PolicySet)
    _path: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="before")
    @classmethod
    def _merge_defaults(cls, data: Any) -> Any:
        """Puts `peer_defaults` under each peer, key by key, before anything is judged."""
        if not isinstance(data, dict):
            return data
        defaults, peers = data.get("peer_defaults"), data.get("peers")
        if not isinstance(defaults, dict) or not isinstance(peers, list):
            return data
        known = {key: value for key, value in defaults.items() if isinstance(key, str)}
        merged = [{**known, **peer} if isinstance(peer, dict) else peer for peer in peers]
        return {**data, "peers": merged}

    @property
    def policy_set(self) -> PolicySet:
        """The policies of the files that `policies` names."""
        return self._policy_set

    @property
    def path(self) -> Path:
        """The file that this was loaded from."""
        return self._path

    def loaded(self, policies: PolicySet, path: Path) -> Config:
        """Itself, once the loader has found the policies."""
        self._policy_set, self._path = policies, path
        return self

    def peer(self, name: str) -> Peer | None:
        """The peer of that name, None when there is none."""
        return next((peer for peer in self.peers if peer.name == name), None)

    def local_asn(self, peer: Peer) -> int:
        """Our AS number towards a peer."""
        return peer.local_asn or self.router.asn

    def is_ebgp(self, peer: Peer) -> bool:
        """True for an external peer (RFC 4271 s1.1)."""
        return peer.asn != self.local_asn(peer)
