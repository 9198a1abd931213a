"""What people put behind a stock ExaBGP who have no router daemon: JSON in, `ip -batch` out.

ExaBGP runs this file as its process and writes one JSON object a line. The shortest AS path wins, then the lower
neighbour; a neighbour that goes down takes its routes along. It is written to be quick, not to be right in everything:
no policy, no MED, no next hop that is not on a link. Nothing of bgpbridge is used here.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["Table"]

PROTOCOL = 202
Route = tuple[int, str, str]  # length of the AS path, neighbour, next hop: the least is the best


class Table:
    """Routes by prefix and neighbour, and the next hop that each prefix has in the kernel."""

    def __init__(self) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        self._installed: dict[str, str] = {}

    def heard(self, event: dict[str, Any]) -> Iterator[str]:
        """The commands for `ip -batch` that an event makes necessary."""
        neighbour = event.get("neighbor", {})
        peer = neighbour.get("address", {}).get("peer", "")
        if event.get("type") == "state" and neighbour.get("state") == "down":
            for prefix in [prefix for prefix, known in self._routes.items() if peer in known]:
                yield from self._withdrawn(prefix, peer)
        message = neighbour.get("message", {})
        update = message.get("update", {}) if isinstance(message, dict) else {}
        for listed in update.get("withdraw", {}).values():
            for one in listed:
                yield from self._withdrawn(_prefix(one), peer)
        if "announce" in update:
            length = _length(update.get("attribute", {}).get("as-path", {}))
            for hops in update["announce"].values():
                for hop, listed in hops.items():
                    for one in listed:
                        yield from self._announced(_prefix(one), (length, peer, hop))

    def _announced(self, prefix: str, route: Route) -> Iterator[str]:
        self._routes.setdefault(prefix, {})[route[1]] = route
        yield from self._installs(prefix)

    def _withdrawn(self, prefix: str, peer: str) -> Iterator[str]:
        known = self._routes.get(prefix, {})
        known.pop(peer, None)
        if known:
            yield from self._installs(prefix)
        elif self._installed.pop(prefix, None) is not None:
            del self._routes[prefix]
            yield f"route del {prefix} proto {PROTOCOL}"

    def _installs(self, prefix: str) -> Iterator[str]:
        hop = min(self._routes[prefix].values())[2]
        if self._installed.get(prefix) != hop:
            self._installed[prefix] = hop
            yield f"route replace {prefix} via {hop} proto {PROTOCOL}"


def _prefix(one: dict[str, str] | str) -> str:
    return one if isinstance(one, str) else one["nlri"]


def _length(path: Any) -> int:
    """AS numbers of a path, however this ExaBGP writes it: a list (4.2) or numbered segments (5.0)."""
    if isinstance(path, dict):
        return sum(len(segment["value"]) for segment in path.values())
    return len(path)


def main() -> None:
    """Until ExaBGP goes."""
    table = Table()
    command = ["ip", "-force", "-batch", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as ip:
        assert ip.stdin is not None
        for line in sys.stdin:
            with contextlib.suppress(ValueError):
                ip.stdin.writelines(f"{words}\n" for words in table.heard(json.loads(line)))
                ip.stdin.flush()


if __name__ == "__main__":
    main()
