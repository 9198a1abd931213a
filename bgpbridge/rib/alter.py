"""What `set` of a policy makes of decoded attributes: pure, value to value."""

from __future__ import annotations

from dataclasses import replace

from bgpbridge.types import AttributeChanges
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import prepend

__all__ = ["alter"]


def alter(attributes: PathAttributes, changes: AttributeChanges) -> PathAttributes:
    """The attributes after `changes`. A new next hop takes the link-local one with it; the weight is no
    path attribute and stays out."""
    present = attributes
    if changes.prepend is not None:
        asn, times = changes.prepend
        present = replace(present, as_path=prepend(present.as_path, [asn] * times))
    if changes.next_hop is not None:
        present = replace(present, next_hop=changes.next_hop, link_local=None)
    return replace(
        present,
        med=present.med if changes.med is None else changes.med,
        local_pref=present.local_pref if changes.local_pref is None else changes.local_pref,
        communities=changes.communities.apply(present.communities),
        extended=changes.extended.apply(present.extended),
        large=changes.large.apply(present.large),
    )
