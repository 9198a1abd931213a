"""Every example in configs/ and docs/ is loaded, complete, and fits the JSON schemas."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from bgpbridge.config import Config, advise, config_schema, load_config, loads_config, policy_schema
from bgpbridge.config.latency import Latency, Probe, Threshold
from bgpbridge.config.model import Datapath, Decision, Kernel, Multipath, Router
from bgpbridge.config.peer import Announcement, Peer, PeerOptions
from bgpbridge.config.rpki import Rpki, RpkiFile, RpkiServer
from bgpbridge.documents import known_keys, parse, read_text
from bgpbridge.policy.evaluate import evaluate
from bgpbridge.policy.model import PolicySet
from bgpbridge.policy.override_schema import OverrideText, PreferText, WeightText
from bgpbridge.policy.parse import load_policies, loads_policies
from bgpbridge.policy.schema import CommunityEditsText, IncludeText, MatchText, SetsText, SetText, TermText
from bgpbridge.types import Prefix
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import Segment, SegmentKind

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yml"))
POLICIES = sorted((ROOT / "configs" / "policies").glob("*.yml"))
SETS = {"customers.txt": "192.0.2.0/24\n"}


def blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configuration_loads_and_fits_the_schema(path: Path) -> None:
    config = load_config(path)
    assert config.peers
    jsonschema.validate(parse(read_text(path), path.name).data, config_schema())


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_policy_file_fits_the_schema(path: Path) -> None:
    jsonschema.validate(parse(read_text(path), path.name).data, policy_schema())


def test_the_small_example_needs_no_advice_but_about_what_it_does_not_use() -> None:
    said = [oddity.text for oddity in advise(load_config(ROOT / "configs" / "edge.example.yml"))]
    assert said == [f"policy {name} is the `import` of no peer" for name in ("customer", "internal", "peering")]


@pytest.mark.parametrize("path", CONFIGS[:1], ids=lambda path: path.name)
def test_the_long_example_shows_every_key(path: Path) -> None:
    document = parse(read_text(path), path.name)
    for model in (
        Config,
        Router,
        Decision,
        Multipath,
        Datapath,
        Kernel,
        Peer,
        Announcement,
        Rpki,
        RpkiFile,
        RpkiServer,
        Latency,
        Probe,
        Threshold,
    ):
        for key in known_keys(model):
            assert re.search(rf"[\s{{-]{key}:", read_text(path)), f"{model.__name__}.{key} is not shown"
    assert len(document.data["peers"]) == 3


def test_defaults_in_the_long_example_are_the_defaults() -> None:
    long = loads_config(read_text(ROOT / "configs" / "bgpbridge.example.yml"), ROOT / "configs" / "x.yml")
    default = Config.model_validate({"router": {"asn": 1, "router_id": "192.0.2.1"}})
    for part in ("decision", "kernel", "speaker", "runtime", "http", "graceful_restart", "log"):
        assert getattr(long, part) == getattr(default, part), part
    assert long.datapath.model_copy(update={"interfaces": ()}) == default.datapath


def attributes(
    *asns: int, communities: tuple[int, ...] = (), otc: int | None = None, next_hop: str = "198.51.100.1"
) -> PathAttributes:
    path = (Segment(SegmentKind.AS_SEQUENCE, asns),)
    return PathAttributes(as_path=path, communities=communities, otc=otc, next_hop=ip_address(next_hop))


BLACKHOLE = (0xFFFF029A,)  # RFC 7999


@pytest.fixture(scope="module")
def examples() -> PolicySet:
    return load_policies(POLICIES)


@pytest.mark.parametrize(
    ("policy", "prefix", "route", "term"),
    [
        ("transit", "0.0.0.0/0", attributes(174), "default-route"),
        ("transit", "10.1.0.0/16", attributes(174), "bogon-prefixes"),
        ("transit", "2001:db8:7::/48", attributes(174), "bogon-prefixes"),
        ("transit", "8.8.8.0/24", attributes(174, 64512), "bogon-asns"),
        ("transit", "8.8.8.0/25", attributes(174), "too-specific"),
        ("transit", "2a00::/49", attributes(174), "too-specific"),
        ("transit", "8.8.8.0/24", attributes(*[174] * 64), "endless-paths"),
        ("transit", "8.8.8.0/24", attributes(174, communities=(0xFFFF0000,)), "graceful-shutdown"),
        ("transit", "8.8.8.0/24", attributes(174, 15169), "rest"),
        ("peering", "8.8.8.0/24", attributes(15169, 3356), "leak"),
        ("peering", "8.8.8.0/24", attributes(15169), "rest"),
        ("transit", "192.0.2.0/24", attributes(174), "our-prefixes"),
        ("transit", "8.8.8.0/24", PathAttributes(), "no-origin"),
        ("transit", "8.0.0.0/7", attributes(174), "too-wide"),
        ("transit", "8.8.8.0/24", attributes(174, 15169, otc=174), "rest"),
        ("peering", "8.8.8.0/24", attributes(15169, otc=15169), "rest"),
        ("peering", "8.8.8.0/24", attributes(15169, 36040, otc=36040), "otc-leak"),
        ("peering", "8.8.8.0/24", attributes(*[15169] * 32), "endless-paths"),
        ("peering", "8.8.8.8/32", attributes(15169, communities=BLACKHOLE), "too-specific"),
        ("peering", "8.8.8.8/32", attributes(15169, communities=BLACKHOLE, next_hop="192.0.2.66"), "blackhole"),
        ("customer", "8.8.8.0/24", attributes(64501), "bogon-asns"),
        ("internal", "10.1.0.0/16", PathAttributes(), "our-networks"),
        ("internal", "0.0.0.0/0", PathAttributes(), "our-networks"),
        ("internal", "192.168.0.0/16", PathAttributes(), "bogon-prefixes"),
        ("internal", "8.8.8.0/24", attributes(174), "rest"),
    ],
)
def test_example_policies(examples: PolicySet, policy: str, prefix: str, route: PathAttributes, term: str) -> None:
    assert evaluate(examples.policies[policy], Prefix.parse(prefix), route, "x").term == term


CUSTOMER = {"64501": "15169", "198.51.100.0/24": "8.8.8.0/24", "203.0.113.0/24": "8.8.4.0/24"}


@pytest.mark.parametrize(
    ("prefix", "route", "term"),
    [
        ("8.8.8.0/24", attributes(15169, 15169), "rest"),
        ("8.8.8.0/24", attributes(36040), "foreign-origin"),
        ("8.8.8.0/24", attributes(15169, 3356, 15169), "leak"),
        ("8.8.8.0/24", attributes(15169, otc=15169), "otc-leak"),
        ("8.8.7.0/24", attributes(15169), "not-theirs"),
        ("8.8.8.8/32", attributes(15169), "too-specific"),
        ("8.8.8.8/32", attributes(15169, communities=BLACKHOLE), "blackhole"),
        ("8.8.7.8/32", attributes(15169, communities=BLACKHOLE), "too-specific"),
        ("8.8.8.0/24", attributes(15169, communities=(0xFFFF0000,)), "graceful-shutdown"),
    ],
)
def test_the_customer_profile_filled_in(prefix: str, route: PathAttributes, term: str) -> None:
    """What stands in the file is of documentation, and bogons come first: here it is a real customer's."""
    texts = [(read_text(path), path.name) for path in POLICIES]
    for documented, real in CUSTOMER.items():
        texts = [(text.replace(documented, real) if name == "customer.yml" else text, name) for text, name in texts]
    assert evaluate(loads_policies(texts).policies["customer"], Prefix.parse(prefix), route, "x").term == term


def test_a_peer_cannot_set_our_own_communities(examples: PolicySet) -> None:
    route = attributes(15169, communities=(65000 << 16 | 9, 7))
    verdict = evaluate(examples.policies["peering"], Prefix.parse("8.8.8.0/24"), route, "x")
    assert verdict.changes.communities.apply(route.communities) == (7, 65000 << 16 | 2)


@pytest.mark.parametrize("text", blocks("configuration.md"))
def test_configuration_page(text: str) -> None:
    loads_config(text, ROOT / "configs" / "page.yml")
    jsonschema.validate(parse(text, "page.yml").data, config_schema())


@pytest.mark.parametrize("text", blocks("policy.md"))
def test_policy_page(text: str, tmp_path: Path) -> None:
    for name, content in SETS.items():
        (tmp_path / name).write_text(content)
    if text.startswith("- term"):  # terms alone: of a policy with the sets of the page's first example
        sets = blocks("policy.md")[0].split("\npolicies:")[0]
        indented = "\n".join(f"      {line}" for line in text.splitlines())
        text = f"{sets}\npolicies:\n  page:\n    terms:\n{indented}\n"
    loads_policies([(text, str(tmp_path / "page.yml"))])
    jsonschema.validate(parse(text, "page.yml").data, policy_schema())


@pytest.mark.parametrize(
    ("page", "models"),
    [
        (
            "policy.md",
            [
                TermText,
                IncludeText,
                SetsText,
                MatchText,
                SetText,
                CommunityEditsText,
                OverrideText,
                PreferText,
                WeightText,
            ],
        ),
        ("configuration.md", [PeerOptions, Peer, RpkiFile, RpkiServer]),
    ],
)
def test_pages_name_every_key(page: str, models: list[type[BaseModel]]) -> None:
    text = (ROOT / "docs" / page).read_text()
    for model in models:
        for key in known_keys(model):
            assert f"`{key}`" in text, f"{page} does not speak of {key}"


def test_configuration_page_names_every_section() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name, info in Config.model_fields.items():
        model: Any = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel) and name not in ("router", "peer_defaults"):
            for key in known_keys(model):
                assert re.search(rf"`{name}\.{key}|`\.{key}`|`{name}\.\S+`.*`\.{key}`", text), f"{name}.{key}"


@pytest.mark.parametrize("schema", [config_schema(), policy_schema()], ids=["config", "policy"])
def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].startswith("https://json-schema.org/")
