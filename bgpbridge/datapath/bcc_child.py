"""Compile and load by BCC, in a process of its own: run as a script by loader_bcc, never imported there.

BCC brings LLVM along, 130 MB and more that its cleanup() does not give back; so it lives for the half second
that it is needed, in a child, which hands the program over as an fd (SCM_RIGHTS) and exits. Standard library
and bcc only: the child may run under another interpreter than the daemon's, the one that Debian's
python3-bpfcc belongs to.

Request: one line of JSON on stdin {source, cflags, program}. Map fds are inherited under their own numbers,
the socket is the one in argv[1]. Exit: 0 handed over, 3 no bcc, 4 not compiled, 5 refused by the kernel;
the words of BCC, compiler and verifier are on stderr.
"""

from __future__ import annotations

import json
import socket
import sys

NO_BCC, NOT_COMPILED, REFUSED = 3, 4, 5


def main() -> int:
    """Do what stdin asks for."""
    request = json.loads(sys.stdin.readline())
    try:
        from bcc import BPF  # noqa: PLC0415  (the whole point: imported nowhere else)
    except ImportError as error:
        print(error, file=sys.stderr)  # noqa: T201  (stderr is this script's interface)
        return NO_BCC
    try:
        module = BPF(src_file=request["source"].encode(), cflags=request["cflags"])
    except Exception as error:  # noqa: BLE001  (bcc raises bare Exception)
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_COMPILED
    try:
        program = module.load_func(request["program"].encode(), BPF.XDP)
    except Exception as error:  # noqa: BLE001  (bcc raises bare Exception)
        print(error, file=sys.stderr)  # noqa: T201
        return REFUSED
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        socket.send_fds(parent, [b"program"], [program.fd])
    return 0


if __name__ == "__main__":
    sys.exit(main())
