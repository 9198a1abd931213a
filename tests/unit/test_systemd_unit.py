"""The unit by systemd's own tool, and against what the code asks of the kernel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "configs" / "bgpbridge.service"
WORST = 38  # tenths: what `systemd-analyze security` may find at most
NOT_THE_DAEMON = {"lab", "bench"}
# What `strace -f -c` counts over start, tables, reloads, checks, BFD, a crash and stop of the daemon.
CALLS = """
accept4 access arch_prctl bind bpf brk capget capset chdir clock_gettime clock_nanosleep clone clone3 close
close_range connect dup2 epoll_create1 epoll_ctl epoll_wait eventfd2 execve fchown fcntl flock fstat fsync
ftruncate futex getcwd getdents64 getegid geteuid getgid getpeername getpid getppid getpriority getrandom
getsockname getsockopt gettid getuid ioctl kill listen lseek madvise mbind memfd_create mkdir mmap mprotect
mremap munmap newfstatat openat pidfd_open pidfd_send_signal pipe2 poll prctl pread64 prlimit64 pselect6
pwrite64 read readlink recvfrom recvmsg rename rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity
sched_getscheduler sched_setattr sendmsg sendto set_robust_list set_tid_address setgroups setresgid setresuid
setsid setsockopt socket socketpair statfs statx sysinfo umask uname unlink unshare vfork wait4 write
"""


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def listed(directive: str) -> set[str]:
    """The words behind a directive."""
    return {word for line in UNIT.read_text().splitlines() if line.startswith(f"{directive}=") for word in words(line)}


def words(line: str) -> list[str]:
    return line.split("=", 1)[1].split()


def asked(pattern: str) -> set[str]:
    """What the daemon's code names."""
    files = [
        path for path in (ROOT / "bgpbridge").rglob("*.py") if path.relative_to(ROOT).parts[1] not in NOT_THE_DAEMON
    ]
    return {found for path in files for found in re.findall(pattern, path.read_text())}


def test_verify_finds_nothing(tmp_path):
    """With a program in the place of ours, which need not be installed here."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/bgpbridge", "/bin/true"))
    done = analyze("verify", "--man=no", str(copy))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_stays_as_hard_as_it_is():
    done = analyze("security", "--offline=true", f"--threshold={WORST}", str(UNIT))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_family_of_sockets_is_allowed():
    assert asked(r"\bsocket\.(AF_[A-Z0-9]+)") - {"AF_UNSPEC"} <= listed("RestrictAddressFamilies")


def test_every_namespace_is_allowed():
    names = {"NEWUSER": "user", "NEWPID": "pid"}
    assert {names.get(one, one) for one in asked(r"\bCLONE_(NEW[A-Z]+)")} == listed("RestrictNamespaces")


def calls(name: str) -> set[str]:
    """The system calls of a group such as @aio; of a name, itself."""
    if not name.startswith("@"):
        return {name}
    lines = [line.strip() for line in analyze("syscall-filter", name).stdout.splitlines()[1:]]
    return set().union(*(calls(line) for line in lines if line and not line.startswith("#")))


def test_every_system_call_of_the_daemon_is_allowed():
    allowed = calls("@default")
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            named = set().union(*(calls(word.lstrip("~")) for word in words(line)))
            allowed = allowed - named if "=~" in line else allowed | named
    assert "bpf" in allowed
    assert set(CALLS.split()) <= allowed
