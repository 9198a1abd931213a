"""VRPs in a bridge: what a change of them judges again, what too few of them do, a reload of their sources."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.config import loads_config
from bgpbridge.config.rpki import Rpki as Settings
from bgpbridge.policy.parse import loads_policies
from bgpbridge.rpki.vrp_child import offered_beside
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import Family, Prefix
from bgpbridge.view.explain import explain
from bgpbridge.view.rpki import rpki, validity
from bgpbridge.view.status import status
from tests.unit.view.conftest import Rig

POLICY = """
policies:
  from-provider:
    terms:
      - {term: invalid, match: {rpki: invalid}, then: reject, reason: RPKI invalid}
      - {term: proven, match: {rpki: valid}, set: {local_pref: 110}, then: accept}
      - {term: rest, then: accept}
"""
PREFIXES = [f"198.18.{number}.0/24" for number in range(200)]


def write(path: Path, *roas: tuple[str, int, int]) -> None:
    listed = [{"asn": asn, "prefix": prefix, "maxLength": longest} for prefix, longest, asn in roas]
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"roas": listed}))
    fresh.replace(path)


class Validated(Rig):
    """A rig whose peer sends 200 prefixes of AS 64500, with a file of VRPs. `judged` are the routes asked about."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(folder, loop)
        self.file = folder / "vrps.json"
        self.judged: list[str] = []

    def settings(self, **more: Any) -> Settings:
        return Settings.model_validate({"files": [{"name": "v", "path": str(self.file), "interval_s": 1}], **more})

    def begin(self, *roas: tuple[str, int, int]) -> None:
        write(self.file, *roas)
        bridge = self.bridge
        bridge.judge.set_policies(loads_policies([(POLICY, "policy.yaml")]))
        self.session("isp-a")
        self.session("closed")
        self.announce("isp-a", PREFIXES, [64601, 64500])
        self.announce("closed", PREFIXES, [64603, 64500])
        self.loop.run_until_complete(asyncio.sleep(0))
        judge = bridge.judge.judge

        def counted(peer: int, family: Family, ids: Any, hi: Any, lo: Any, length: Any) -> Any:
            self.judged += [f"{peer} {Prefix(family, int(v), int(n))}" for v, n in zip(lo, length, strict=True)]
            return judge(peer, family, ids, hi, lo, length)

        bridge.judge.judge = counted  # type: ignore[method-assign]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.01)
                while self.bridge.work.step():
                    pass

    def run(self, case: Callable[[], Any]) -> None:
        async def whole() -> None:
            task = asyncio.create_task(self.bridge.rpki.run())
            try:
                await case()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        self.loop.run_until_complete(whole())

    def kinds(self) -> list[str]:
        return [event.kind for event in self.bridge.events.tail() if event.kind.startswith("rpki")]

    def accepted(self) -> int:
        return self.bridge.rib.families[Family.IPV4].routes


@contextmanager
def rigged(folder: Path) -> Iterator[Validated]:
    loop = asyncio.new_event_loop()
    rig = Validated(folder, loop)
    try:
        loop.run_until_complete(rig.build())
        yield rig
        rig.bridge.prober.close()
    finally:
        loop.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Validated]:
    monkeypatch.setattr("bgpbridge.view.fib.kernel_lookup", lambda address: None)
    with rigged(tmp_path) as made:
        yield made


def test_a_change_judges_again_only_what_it_covers(rig: Validated) -> None:
    rig.begin(("198.18.0.0/22", 24, 64500), ("198.18.8.0/23", 24, 1))
    bridge = rig.bridge

    async def case() -> None:
        assert rig.accepted() == 200
        bridge.rpki.configure(rig.settings())
        await bridge.rpki.ready()
        await rig.until(lambda: rig.accepted() == 198)
        isp = bridge.peers_by_name("isp-a").index
        covered = [*PREFIXES[:4], *PREFIXES[8:10]]
        assert sorted(rig.judged) == sorted(f"{isp} {prefix}" for prefix in covered), "once each, of that peer alone"
        assert str(bridge.log.tail(1)[0].cause) == "rpki VRPs of 2 prefixes"
        rig.judged.clear()
        write(rig.file, ("198.18.0.0/22", 24, 64500), ("198.18.8.0/24", 24, 1))
        await rig.until(lambda: rig.accepted() == 199)
        assert sorted(rig.judged) == [f"{isp} {PREFIXES[8]}", f"{isp} {PREFIXES[9]}"]

    rig.run(case)
    seen = explain(bridge, Prefix.parse(PREFIXES[1]).address)
    assert seen.rpki is not None
    assert (seen.rpki.state, seen.rpki.origin) == ("valid", 64500)
    assert seen.rpki.covering == ("198.18.0.0/22 max 24 AS64500",)
    assert seen.policy is not None
    assert seen.policy.term == "proven"
    assert validity(bridge, Prefix.parse(PREFIXES[8]), 64500).state == Validity.INVALID.label


def test_vrps_that_shrink_to_nothing_stay_with_an_alarm(rig: Validated) -> None:
    rig.begin(("198.18.8.0/24", 24, 1))
    bridge = rig.bridge

    async def case() -> None:
        bridge.rpki.configure(rig.settings())
        await rig.until(lambda: rig.accepted() == 199)
        write(rig.file)
        await rig.until(lambda: bool(bridge.rpki.alarms()))
        assert "holds no VRP" in status(bridge).rpki[0]
        assert rpki(bridge).sources[0].state == "refused"
        assert (rig.accepted(), len(bridge.rpki.table)) == (199, 1)
        bridge.rpki.configure(rig.settings(max_shrink_percent=100))
        await rig.until(lambda: rig.accepted() == 200)
        assert status(bridge).rpki == ()
        rig.file.unlink()
        await rig.until(lambda: bool(bridge.rpki.alarms()))
        assert "there is no such file" in bridge.rpki.alarms()[0]

    rig.run(case)
    assert [kind for kind in rig.kinds() if "alarm" in kind] == ["rpki-alarm", "rpki-alarm-over", "rpki-alarm"]


def test_a_server_that_talks_nonsense_and_a_file_count_apart(rig: Validated) -> None:
    rig.begin(("198.18.8.0/24", 24, 1))
    bridge = rig.bridge

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    async def case() -> None:
        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bridge.rpki.configure(rig.settings(servers=[{"name": "s", "address": "127.0.0.1", "port": port}]))
        await bridge.rpki.ready()
        await rig.until(lambda: rig.accepted() == 199)
        await rig.until(lambda: "rpki-nonsense" in rig.kinds())
        by_name = {source.name: source for source in rpki(bridge).sources}
        assert (by_name["v"].in_use, by_name["s"].in_use) == (True, False)
        assert by_name["s"].error
        assert [one.wrong for one in by_name.values()] == [False, True]
        text = f"s (127.0.0.1 port {port}): the cache speaks RTR version 50, expected 0 or 1; it has no VRPs"
        assert bridge.rpki.alarms() == [text]
        told = next(event.text for event in bridge.events.tail() if event.kind == "rpki-nonsense")
        assert f"mend: is 127.0.0.1 port {port} an RTR cache" in told
        server.close()

    rig.run(case)


def test_without_sources_nothing_waits_and_all_is_not_found(rig: Validated) -> None:
    rig.begin()

    async def case() -> None:
        await rig.bridge.rpki.ready()
        assert explain(rig.bridge, Prefix.parse(PREFIXES[1]).address).rpki is None

    rig.run(case)
    assert rig.accepted() == 200


def test_routes_are_counted_by_state(rig: Validated) -> None:
    rig.begin(("198.18.0.0/22", 24, 64500), ("198.18.8.0/23", 24, 1))
    bridge = rig.bridge

    async def case() -> None:
        bridge.rpki.configure(rig.settings())
        await bridge.rpki.ready()
        await bridge.rpki.count_once()
        seen = rpki(bridge).routes
        assert {state: counts[Family.IPV4] for state, counts in seen.items()} == {
            "valid": 8,
            "not-found": 388,
            "invalid": 4,
        }

    rig.run(case)


def test_a_reload_changes_the_sources_alone_that_are_others(rig: Validated, tmp_path: Path) -> None:
    rig.begin(("198.18.8.0/24", 24, 1))
    bridge, other = rig.bridge, tmp_path / "other.json"
    write(other, ("198.18.9.0/24", 24, 1))
    text = "router: {{asn: 64700, router_id: 203.0.113.1}}\nrpki: {{files: [{{name: v, path: {}}}{}]}}\n"

    async def case() -> None:
        for more, routes in (("", 199), (f", {{name: w, path: {other}}}", 198), ("", 199)):
            kept = bridge.rpki.sources.get("v")
            new = loads_config(text.format(rig.file, more), tmp_path / "x.yml")
            bridge.rpki.configure(new.rpki)
            await rig.until(lambda routes=routes: rig.accepted() == routes)  # type: ignore[misc]
            assert kept in (None, bridge.rpki.sources["v"])

    rig.run(case)


def test_a_large_file_is_read_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    write(path, *((f"10.{n >> 8}.{n & 255}.0/24", 24, n + 1) for n in range(12_000)))
    assert path.stat().st_size > 1 << 19
    table = offered_beside(path, 0.0)
    assert not isinstance(table, str)
    assert len(table) == 12_000
    assert table.validate_one(Prefix.parse("10.0.1.0/24"), 2) is Validity.VALID
    path.write_text(path.read_text()[:-1])
    assert "not JSON" in str(offered_beside(path, 0.0))
