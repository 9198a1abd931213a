"""The checks that need no interface: kernel, BPF, libraries, sysctls, netfilter, memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bgpbridge.datapath.forbid import Feature, forbidden
from bgpbridge.doctor.features import check_features
from bgpbridge.doctor.finding import Finding, Level
from bgpbridge.doctor.links import check_links

__all__ = ["examine", "forward_rules"]

OCTETS_PER_ROUTE = {"XDP trie": 104, "kernel": 125, "RIB": 90}  # measured at a million IPv4 routes


def examine(
    interfaces: Sequence[str] = (),
    *,
    pin_path: Path = Path("/sys/fs/bpf/bgpbridge"),
    max_routes: int = 1_600_000,
    allow_netfilter_bypass: bool = False,
) -> list[Finding]:
    """All findings for this machine and network namespace; `interfaces` are those that XDP is to run on."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        check_kernel,
        check_privilege,
        lambda: check_bpffs(pin_path),
        check_features,
        check_loaders,
        check_exabgp,
        lambda: check_sysctls(interfaces),
        lambda: check_netfilter(allowed=allow_netfilter_bypass),
        lambda: check_memory(max_routes),
        check_signatures,
        lambda: check_links(interfaces),
    )
    return [finding for check in checks for finding in check()]


def check_kernel() -> Iterator[Finding]:
    """Its name (what it can do is asked of itself: `features`), BTF and the JIT."""
    yield Finding("kernel", Level.OK, f"Linux {platform.release()}")
    if Path("/sys/kernel/btf/vmlinux").exists() and not forbidden(Feature.BTF):
        yield Finding("btf", Level.OK, "/sys/kernel/btf/vmlinux")
    else:
        yield Finding("btf", Level.OK, "none, and none is needed")
    jit = _sysctl("net/core/bpf_jit_enable")
    if jit == "0":
        yield Finding("bpf-jit", Level.FAIL, "interpreted, ten times slower", "sysctl -w net.core.bpf_jit_enable=1")
    elif jit is not None:
        yield Finding("bpf-jit", Level.OK, "on")


CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_PERFMON": 38, "CAP_BPF": 39}


def check_privilege() -> Iterator[Finding]:
    """The capabilities that the bridge needs (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        yield Finding(
            "privilege", Level.FAIL, f"without {', '.join(missing)}", "run as root, or with these capabilities"
        )
    else:
        yield Finding("privilege", Level.OK, ", ".join(CAPABILITIES))


def check_bpffs(pin_path: Path) -> Iterator[Finding]:
    """A bpf file system where the maps are to be pinned."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holders = [Path(fields[1]) for fields in mounts if fields[2] == "bpf"]
    if any(pin_path.is_relative_to(holder) for holder in holders):
        yield Finding("bpffs", Level.OK, str(pin_path))
    else:
        mend = "the daemon mounts one itself as root; by hand: mount -t bpf bpf " + str(pin_path.parent)
        yield Finding("bpffs", Level.WARN, f"{pin_path} is on no bpf file system", mend)


def check_loaders() -> Iterator[Finding]:
    """BCC (Debian's python3-bpfcc) and clang with libbpf; one of them must be there."""
    bcc = importlib.util.find_spec("bcc") if not forbidden(Feature.BCC) else None
    is_bcc = bcc is not None and bcc.origin is not None and (Path(bcc.origin).parent / "libbcc.py").exists()
    clang = shutil.which("clang") if not forbidden(Feature.LIBBPF) else None
    if is_bcc:
        yield Finding("bcc", Level.OK, "python3-bpfcc")
    elif bcc is not None:
        yield Finding(
            "bcc", Level.WARN, "a package named bcc that is not BCC", "pip uninstall bcc; apt install python3-bpfcc"
        )
    else:
        level = Level.WARN if clang else Level.FAIL
        yield Finding(
            "bcc", level, "not importable", "apt install python3-bpfcc, and a venv with --system-site-packages"
        )
    if clang:
        yield Finding("libbpf", Level.OK, f"{clang} compiles ahead of time")
    else:
        yield Finding("libbpf", Level.OK if is_bcc else Level.FAIL, "no clang", "apt install clang libbpf-dev")


def check_exabgp() -> Iterator[Finding]:
    """The speaker's library, pinned to the minor version whose seams we use."""
    try:
        version = importlib.metadata.version("exabgp")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("exabgp", Level.FAIL, "not installed", "pip install 'exabgp>=5.0,<5.1'")
        return
    if version.startswith("5.0."):
        yield Finding("exabgp", Level.OK, version)
    else:
        yield Finding("exabgp", Level.FAIL, version, "pip install 'exabgp>=5.0,<5.1'")


def check_sysctls(interfaces: Sequence[str]) -> Iterator[Finding]:
    """Forwarding on, reverse path filters that do not drop what XDP passes up, flow hashing in the kernel."""
    for family, key in (("ipv4", "net/ipv4/ip_forward"), ("ipv6", "net/ipv6/conf/all/forwarding")):
        if _sysctl(key) == "1":
            yield Finding(f"forwarding-{family}", Level.OK, "on")
        else:
            mend = f"sysctl -w {key.replace('/', '.')}=1"
            yield Finding(f"forwarding-{family}", Level.FAIL, "off: what XDP passes up is dropped", mend)
    for name in ("all", *interfaces):
        if _sysctl(f"net/ipv4/conf/{name}/rp_filter") == "1":
            mend = f"sysctl -w net.ipv4.conf.{name}.rp_filter=2"
            yield Finding("rp-filter", Level.WARN, f"{name} is strict: asymmetric traffic is dropped", mend)
    for key in ("net/ipv4/fib_multipath_hash_policy", "net/ipv6/fib_multipath_hash_policy"):
        if _sysctl(key) == "0":
            mend = f"sysctl -w {key.replace('/', '.')}=1"
            yield Finding(
                "multipath-hash", Level.WARN, f"{key.split('/')[1]} hashes addresses only, XDP 5 tuples", mend
            )


def forward_rules() -> list[str]:
    """Netfilter rules on the forward hook of this namespace, as their tools print them. XDP bypasses these."""
    rules: list[str] = []
    if shutil.which("nft"):
        rules += _nft_forward(_output(["nft", "list", "ruleset"]))
    for tool in ("iptables-save", "ip6tables-save"):
        if shutil.which(tool):
            done = _run([tool, "-t", "filter"])
            if "ermission denied" in done.stderr:  # the legacy kind shows them to CAP_NET_RAW alone
                rules.append(f"{tool} may not show its rules here (without CAP_NET_RAW), so that there may be some")
            lines = done.stdout.splitlines()
            rules += [line for line in lines if line.startswith("-A FORWARD")]
            rules += [line for line in lines if line.startswith((":FORWARD DROP", ":FORWARD REJECT"))]
    return list(dict.fromkeys(rules))


def _nft_forward(ruleset: str) -> list[str]:
    """Rules of chains whose type line names the forward hook."""
    rules: list[str] = []
    inside = False
    for line in map(str.strip, ruleset.splitlines()):
        if line.startswith("chain "):
            inside = False
        elif "hook forward" in line:
            inside = True
            rules += [line] if "policy drop" in line else []
        elif inside and line and line != "}":
            rules.append(line)
    return rules


def check_netfilter(*, allowed: bool) -> Iterator[Finding]:
    """Rules on FORWARD, which packets in the fast path never meet."""
    rules = forward_rules()
    if not rules:
        yield Finding("netfilter", Level.OK, "no rule on the forward hook")
        return
    level = Level.WARN if allowed else Level.FAIL
    mend = "remove the rules, or set datapath.allow_netfilter_bypass: true when you mean it"
    yield Finding("netfilter", level, f"{len(rules)} rules on the forward hook are bypassed, such as: {rules[0]}", mend)


def check_memory(max_routes: int) -> Iterator[Finding]:
    """Enough memory for full tables, in XDP, kernel and RIB."""
    text = Path("/proc/meminfo").read_text()
    available = next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("MemAvailable"))
    need = max_routes * sum(OCTETS_PER_ROUTE.values())
    seen = f"{need >> 20} MiB for {max_routes:,} routes, {available >> 20} MiB available"
    if need > available:
        yield Finding("memory", Level.FAIL, seen, "lower datapath.max_ipv4 / max_ipv6, or add memory")
    else:
        yield Finding("memory", Level.OK, seen)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 256:
        yield Finding("files", Level.WARN, f"{soft} open files allowed", "ulimit -n 1024")


MD5_COUNTERS = {
    "TCPMD5Failure": "signed with another password than ours",
    "TCPMD5NotFound": "not signed though their sender has a password here",
    "TCPMD5Unexpected": "signed though nobody has a password for their sender",
}


def check_signatures(netstat: Path = Path("/proc/self/net/netstat")) -> Iterator[Finding]:
    """Segments of TCP MD5 (RFC 2385) that the kernel dropped: neither side hears of it."""
    try:
        lines = netstat.read_text().splitlines()
    except OSError:
        return
    counts: dict[str, str] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        counts.update(zip(names.split(), values.split(), strict=False))
    found = [f"{count} {words}" for key, words in MD5_COUNTERS.items() if (count := int(counts.get(key, 0)))]
    if found:
        mend = "compare the passwords of both sides (`bgpbridge peers`); old counts stay until the next boot"
        yield Finding("tcp-md5", Level.WARN, f"segments dropped here: {', '.join(found)}", mend)


def _sysctl(key: str) -> str | None:
    try:
        return Path("/proc/sys", key).read_text().strip()
    except OSError:
        return None


def _output(command: list[str]) -> str:
    return _run(command).stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, env=environment)
