"""The wrong ways in, pipes and interrupts, files and machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bgpbridge.cli.main import LAZY, cli
from bgpbridge.doctor import Finding, Level

ROOT = Path(__file__).parents[3]


def process(*words, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "bgpbridge", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **more,
    )


# -- wrong usage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "No such command 'nonsense'"),
        ("", "Usage: bgpbridge"),
        ("routes --best --rejected", "exclude each other"),
        ("routes --limit -1", "not in the range"),
        ("routes --family ipx", "'ipx' is not one of"),
        ("route", "Missing argument 'ADDRESS'"),
        ("counters --watch 0", "not in the range"),
        ("schema everything", "'everything' is not one of"),
        ("peers nobody", "there is no peer nobody\n  mend: peers are: isp-a, isp-a-v6, isp-b, isp-b-v6"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(bgpbridge, line, said):
    ran = bgpbridge(*line.split())
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("command", ["status", "events --follow", "audit", "reload", "counters --watch 1"])
def test_no_daemon_is_exit_code_3(bgpbridge, tmp_path, command):
    ran = bgpbridge("--socket", str(tmp_path / "none.sock"), *command.split())
    assert ran.code == 3
    assert ran.err == (
        f"bgpbridge: no bgpbridge answers on {tmp_path}/none.sock\n"
        "  mend: start it with `bgpbridge run -c FILE`, or name its socket with --socket\n"
    )


def test_a_file_that_is_no_socket(bgpbridge, tmp_path):
    (tmp_path / "file").write_text("")
    assert bgpbridge("--socket", str(tmp_path / "file"), "status").code == 3


def test_a_server_that_is_no_bgpbridge(bgpbridge, monkeypatch):
    monkeypatch.setattr("bgpbridge.api.client.json.loads", lambda body: int("not JSON"))
    ran = bgpbridge("status")
    assert (ran.code, ran.out) == (1, "")
    assert "is no bgpbridge" in ran.err


def test_queries_say_what_was_asked_for(bgpbridge, server):
    bgpbridge("routes", "--peer", "isp a", "--prefix", "10.0.0.0/8", "--family", "ipv4", "--best", "--limit", "0")
    (asked,) = server.asked
    path, query = asked.removeprefix("GET ").split("?")
    assert path == "/v1/routes"
    assert set(query.split("&")) == {"peer=isp+a", "prefix=10.0.0.0%2F8", "family=ipv4", "best=1", "limit=0"}


def test_a_listing_that_was_cut_says_so(bgpbridge):
    assert bgpbridge("routes", "--limit", "6").err == "the first 6 are shown: --limit 0 shows all\n"
    assert bgpbridge("routes", "--limit", "7").err == ""


# -- following --------------------------------------------------------------------------------------------


def test_following_ends_with_exit_code_3_when_the_daemon_ends(bgpbridge):
    ran = bgpbridge("events", "--follow", "--json")
    assert ran.code == 3
    assert len([json.loads(line) for line in ran.out.splitlines()]) == 12
    assert "the bridge has ended" in ran.err


def test_ctrl_c_ends_a_watch_quietly(server):
    server.scene = "fine"
    watching = process("--socket", str(server.socket), "counters", "--watch", "0.1")
    assert watching.stdout is not None
    assert watching.stdout.readline() == "no packet\n"
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err.strip()) == (130, "")


def test_a_reader_that_leaves_is_no_error(server):
    server.scene = "fine"
    with process("--socket", str(server.socket), "counters", "--watch", "0.1") as writing:
        assert writing.stdout is not None
        assert writing.stderr is not None
        writing.stdout.close()
        assert writing.stderr.read() == ""


# -- starting quickly -------------------------------------------------------------------------------------


def test_commands_that_only_ask_import_nothing_heavy(server):
    server.scene = "fine"
    heavy = {"numpy", "pydantic", "pyroute2", "aiohttp", "rich", "exabgp", "httpx"}
    code = (
        "import sys\n"
        "from bgpbridge.cli.main import main\n"
        "try:\n"
        f"    main(['--socket', {str(server.socket)!r}, 'status'])\n"
        "finally:\n"
        f"    print(sorted({heavy!r} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("name", sorted(set(LAZY) - {"lab"}))
def test_the_line_of_a_lazy_command_is_the_beginning_of_its_help(name):
    command = cli.get_command(None, name)
    assert command is not None
    assert " ".join((command.help or "").split()).startswith(LAZY[name][1].rstrip("."))


# -- files and machine ------------------------------------------------------------------------------------


def test_check_finds_out_what_a_file_is(bgpbridge, tmp_path):
    (tmp_path / "c.yaml").write_text("router: {asn: 65000, router_id: 192.0.2.1}\n")
    (tmp_path / "p.yaml").write_text("policies: {all: {terms: [{term: t, then: accept}]}}\n")
    assert "configuration, 0 peers, 0 policies" in bgpbridge("check", str(tmp_path / "c.yaml")).out
    assert "policy file, 1 policy" in bgpbridge("check", str(tmp_path / "p.yaml")).out
    assert "lab topology, 6 nodes" in bgpbridge("check", str(ROOT / "lab" / "quickstart.clab.yml")).out
    assert "expect file" in bgpbridge("check", str(ROOT / "lab" / "quickstart.expect.yml")).out


def test_check_tells_all_errors_with_their_places(bgpbridge, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("router: {asn: 65000, router_id: 192.0.2.1}\npers: []\ndatapath: {mode: fast}\n")
    ran = bgpbridge("check", str(file))
    assert ran.code == 2
    assert f"{file}:2:1: error: unknown key `pers`\n  mend: did you mean `peers`?\n" in ran.out
    assert f"{file}:3:" in ran.out
    assert ran.out.endswith(f"{file}: 2 errors\n")
    found = json.loads(bgpbridge("check", "--json", str(file)).out)
    assert (found["errors"][0]["line"], found["errors"][0]["problem"]) == (2, "unknown key `pers`")


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("router: {", ":1:"), ("- a\n- b\n", "mapping"), (None, "no such file")]
)
def test_check_of_what_is_no_file_of_ours(bgpbridge, tmp_path, text, said):
    file = tmp_path / "x.yaml"
    if text is not None:
        file.write_text(text)
    ran = bgpbridge("check", str(file))
    assert (ran.code, ran.err) == (2, "")
    assert said in ran.out


def test_check_reads_passwords_and_never_prints_them(bgpbridge, tmp_path, monkeypatch):
    file = tmp_path / "c.yaml"
    file.write_text(
        "router: {asn: 65000, router_id: 192.0.2.1}\n"
        "peers:\n- {name: a, address: 192.0.2.2, asn: 65001, import: accept, password: {env: BB_SECRET}}\n"
    )
    ran = bgpbridge("check", str(file))
    assert (ran.code, "BB_SECRET" in ran.out) == (2, True)
    monkeypatch.setenv("BB_SECRET", "hunter2")
    ran = bgpbridge("check", str(file))
    assert (ran.code, "hunter2" in ran.out + ran.err) == (0, False)
    assert "advice: external peer a is believed everything" in ran.out


def test_doctor_fails_on_what_must_be_mended(bgpbridge, monkeypatch):
    findings = [
        Finding("kernel", Level.OK, "Linux 6.1"),
        Finding("bcc", Level.FAIL, "not importable", "apt install it"),
    ]
    monkeypatch.setattr("bgpbridge.cli.doctor.examine", lambda **_: findings)
    ran = bgpbridge("doctor")
    assert ran.code == 1
    assert ran.out.splitlines()[2:] == [
        "fail  bcc     not importable  apt install it",
        "",
        "1 finding must be mended first",
    ]
    assert json.loads(bgpbridge("doctor", "--json").out)[1]["mend"] == "apt install it"


def test_doctor_asks_for_the_interfaces_that_globs_find(bgpbridge, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("bgpbridge.cli.doctor.examine", lambda **wanted: asked.update(wanted) or [])
    monkeypatch.setattr("socket.if_nameindex", lambda: [(1, "lo"), (2, "eth1"), (3, "eth2")])
    (tmp_path / "c.yaml").write_text(
        "router: {asn: 65000, router_id: 192.0.2.1}\ndatapath: {interfaces: [wan, 'eth*'], max_ipv4: 2000}\n"
    )
    assert bgpbridge("doctor", "-c", str(tmp_path / "c.yaml")).code == 0
    assert asked["interfaces"] == ["wan", "eth1", "eth2"]
    assert asked["max_routes"] == 402_000


def test_schemas_are_json(bgpbridge):
    assert json.loads(bgpbridge("schema", "config").out)["title"] == "bgpbridge configuration"
    assert json.loads(bgpbridge("schema", "policy").out)["title"] == "bgpbridge policy"


def test_completion_knows_commands_and_peers(bgpbridge, server):
    assert "_BGPBRIDGE_COMPLETE=zsh_complete" in bgpbridge("completion", "zsh").out
    server.scene = "fine"
    environment = {
        **os.environ,
        "_BGPBRIDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"bgpbridge -s {server.socket} peers isp-b",
        "COMP_CWORD": "4",
    }
    done = process(env=environment)
    assert done.communicate(timeout=20)[0].split() == ["plain,isp-b", "plain,isp-b-v6"]


@pytest.mark.parametrize(("command", "uid"), [("run", 1000), ("clear", 1000)])
def test_without_root_it_says_so(bgpbridge, tmp_path, monkeypatch, command, uid):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    (tmp_path / "c.yaml").write_text("router: {asn: 65000, router_id: 192.0.2.1}\n")
    ran = bgpbridge(command, "-c", str(tmp_path / "c.yaml"))
    assert (ran.code, "needs root" in ran.err) == (1, True)


def test_a_lab_test_of_no_topology_names_the_file_that_was_asked_for(bgpbridge, tmp_path):
    ran = bgpbridge("lab", "test", str(tmp_path / "qa"))
    assert ran.code == 2
    assert f"{tmp_path}/qa: there is no such file" in ran.err
