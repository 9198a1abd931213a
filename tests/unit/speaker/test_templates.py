"""The templates that travel with the package are what ExaBGP takes, and what our renderer writes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bgpbridge.config.model import Config
from bgpbridge.speaker.configuration import TapConfiguration
from bgpbridge.speaker.render import render

FOLDER = Path(__file__).parents[3] / "exabgp"


def test_the_speakers_template_is_what_the_renderer_writes() -> None:
    """Apart from comments, line by line."""
    peer = {
        "name": "transit-a",
        "address": "192.0.2.1",
        "asn": 65001,
        "local_address": "192.0.2.2",
        "ttl_security": 1,
        "families": ["ipv4", "ipv6"],
        "add_path": ["ipv4"],
        "extended_next_hop": True,
        "announce": [{"prefix": "203.0.113.0/24", "med": 10, "prepend": 1, "communities": ["65000:100"]}],
    }
    router = {"asn": 4200000001, "router_id": "192.0.2.2"}
    text = render(Config.model_validate({"router": router, "peers": [peer]}), {"transit-a": 1}, {"transit-a": "s3cret"})
    template = (FOLDER / "speaker.conf.template").read_text()
    assert bare(template) == bare(text)
    assert template.splitlines()[-1] == text.splitlines()[-1]


def bare(text: str) -> list[str]:
    lines = (re.sub(r"\s*(?<!\w)#.*", "", line).rstrip() for line in text.splitlines())
    return [line for line in lines if line]


def test_the_speaker_takes_its_template() -> None:
    configuration = TapConfiguration(FOLDER / "speaker.conf.template")
    assert configuration.reload() is True, str(configuration.error)


def test_exabgp_takes_the_stock_configuration() -> None:
    from exabgp.configuration.configuration import Configuration

    configuration = Configuration([str(FOLDER / "stock-5.0.conf")])
    assert configuration.reload() is True, str(configuration.error)
    assert len(configuration.neighbors) == 2
    assert list(configuration.processes) == ["bgpbridge"]


def test_debians_exabgp_takes_the_stock_configuration(tmp_path: Path) -> None:
    if not Path("/usr/sbin/exabgp").exists():
        pytest.skip("Debian's exabgp is not installed: .ci/install lab")
    template = FOLDER / "stock-4.2.conf"
    command = ["/usr/sbin/exabgp", "--test", str(template)]
    environment = {"PATH": "/usr/bin", "exabgp.api.cli": "false", "exabgp.log.destination": "stderr"}
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    broken = tmp_path / "broken.conf"
    broken.write_text(template.read_text().replace("negotiated;", "negotiate;"))
    ran = subprocess.run([*command[:2], str(broken)], env=environment, capture_output=True, timeout=30, check=False)
    assert ran.returncode != 0


def test_the_folder_does_not_shadow_exabgp() -> None:
    assert not list(FOLDER.rglob("__init__.py"))
