"""The doctor finds what is wrong, says how to mend it, and never raises."""

from __future__ import annotations

from pathlib import Path

from bgpbridge.doctor import Level, checks, examine
from bgpbridge.doctor.checks import _nft_forward

RULESET = """
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 accept
\t}
\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t\tct state established,related accept
\t}
}
"""


def test_every_finding_that_is_not_ok_has_a_mend() -> None:
    findings = examine(("no-such-if",))
    assert {f.check for f in findings} >= {"kernel", "btf", "memory", "netfilter", "exabgp", "link no-such-if"}
    assert all(f.mend for f in findings if f.level is not Level.OK)


def test_an_interface_that_is_not_here_fails() -> None:
    (finding,) = [f for f in examine(("no-such-if",)) if f.check.startswith("link")]
    assert (finding.level, finding.seen) == (Level.FAIL, "no such interface here")


def test_only_rules_of_the_forward_hook_count() -> None:
    assert _nft_forward(RULESET) == [
        "type filter hook forward priority filter; policy drop;",
        "ct state established,related accept",
    ]
    assert _nft_forward("table ip nat {\n chain forward {\n type nat hook prerouting priority 0;\n }\n}") == []


def test_forward_rules_fail_unless_they_are_allowed(monkeypatch) -> None:
    monkeypatch.setattr(checks, "forward_rules", lambda: ["-A FORWARD -j DROP"])
    assert [f.level for f in checks.check_netfilter(allowed=False)] == [Level.FAIL]
    assert [f.level for f in checks.check_netfilter(allowed=True)] == [Level.WARN]


def test_a_pin_path_outside_any_bpffs_is_named() -> None:
    (finding,) = checks.check_bpffs(Path("/nowhere/bgpbridge"))
    assert finding.level is Level.WARN
    assert "/nowhere/bgpbridge" in finding.seen


def test_tables_beyond_memory_fail() -> None:
    (finding, *_) = checks.check_memory(10**12)
    assert finding.level is Level.FAIL


def test_segments_that_md5_dropped_are_counted_in_words(tmp_path: Path) -> None:
    file = tmp_path / "netstat"
    file.write_text("TcpExt: A TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\nTcpExt: 1 0 2 7\nIpExt: B\nIpExt: 3\n")
    (finding,) = checks.check_signatures(file)
    assert finding.level is Level.WARN
    assert "7 signed with another password than ours, 2 signed though nobody has a password" in finding.seen
    file.write_text("TcpExt: A TCPMD5Failure\nTcpExt: 1 0\n")
    assert list(checks.check_signatures(file)) == list(checks.check_signatures(tmp_path / "none")) == []


def test_rules_that_may_not_be_seen_count_as_rules(tmp_path: Path, monkeypatch) -> None:
    tool = tmp_path / "iptables-save"
    tool.write_text("#!/bin/sh\necho 'iptables-save: Permission denied (you must be root)' >&2\nexit 4\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (rule,) = checks.forward_rules()
    assert "CAP_NET_RAW" in rule
