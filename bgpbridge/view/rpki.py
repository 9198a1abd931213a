"""`rpki`: the sources of VRPs, how many routes are what, and what is said of one prefix and origin."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.rpki_sources import FileSource, Source
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import Family, Prefix

__all__ = ["RpkiSourceView", "RpkiView", "ValidityView", "rpki", "validity"]


@dataclass(frozen=True, slots=True)
class RpkiSourceView:
    """One source. `where` is its path or address and port; `state` of a file is read or refused, of a server
    connecting, synchronising, synchronised, no-data or down. `age_s`: since the file was looked at, since the server's
    last End of Data. `error`: why the last connection ended; `alarm`: why less counts than is offered; `wrong`: what it
    offers is not used."""

    name: str
    kind: str
    where: str
    preference: int | None
    state: str
    in_use: bool
    vrps: dict[Family, int]
    age_s: float | None
    version: int | None
    session: int | None
    serial: int | None
    error: str
    alarm: str
    wrong: bool


@dataclass(frozen=True, slots=True)
class RpkiView:
    """All sources, the VRPs that count, and the routes that peers have sent by state, as counted last."""

    sources: tuple[RpkiSourceView, ...]
    vrps: dict[Family, int]
    routes: dict[str, dict[Family, int]]


@dataclass(frozen=True, slots=True)
class ValidityView:
    """What RFC 6811 says of a prefix and an origin AS, and the VRPs that it rests on."""

    prefix: str
    asn: int
    state: str
    covering: tuple[str, ...]


def rpki(bridge: Bridge) -> RpkiView:
    """Everything but the VRPs themselves."""
    seen = bridge.rpki
    used = {source.name for source in seen.in_use()}
    return RpkiView(
        sources=tuple(_source(source, source.name in used) for source in seen.sources.values()),
        vrps={family: len(part) for family, part in seen.table.columns.items()},
        routes={state.label: {family: seen.routes[family, state] for family in Family} for state in Validity},
    )


def validity(bridge: Bridge, prefix: Prefix, asn: int) -> ValidityView:
    """One prefix and origin; 0 stands for none."""
    table = bridge.rpki.table
    covering = tuple(str(vrp) for vrp in table.covering(prefix))
    return ValidityView(str(prefix), asn, table.validate_one(prefix, asn).label, covering)


def _source(source: Source, in_use: bool) -> RpkiSourceView:
    if isinstance(source, FileSource):
        state = "refused" if source.alarm else "read" if source.asked else "waiting"
        age_s = round(source.age_s, 1) if source.asked else None
        where = str(source.settings.path)
        return RpkiSourceView(
            name=source.name,
            kind="file",
            where=where,
            preference=None,
            state=state,
            in_use=in_use,
            vrps=source.counts,
            age_s=age_s,
            version=None,
            session=None,
            serial=None,
            error="",
            alarm=source.alarm,
            wrong=source.wrong,
        )
    status, settings = source.client.status(), source.settings
    return RpkiSourceView(
        name=source.name,
        kind="server",
        where=f"{settings.address} port {settings.port}",
        preference=settings.preference,
        state=status.state.value,
        in_use=in_use,
        vrps=source.counts,
        age_s=round(status.age_s, 1) if status.age_s is not None else None,
        version=status.version,
        session=status.session,
        serial=status.serial,
        error=status.error,
        alarm=source.alarm,
        wrong=source.wrong,
    )
