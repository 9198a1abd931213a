"""Where paths come from: a plane of a peer, as the decision reads it."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.rib.adj_rib_in import Plane

__all__ = ["PathSource"]


@dataclass(frozen=True, slots=True)
class PathSource:
    """One line of the matrix: a plane and what its peer adds to every path in it."""

    plane: Plane
    peer: int
    ebgp: bool
    weight: int
    router_id: int
    order: int
