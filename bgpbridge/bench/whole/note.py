"""What the page says of how whole tables are measured."""

from __future__ import annotations

from collections.abc import Sequence

from bgpbridge.bench.whole.contenders import SLOW
from bgpbridge.bench.whole.scale import Scale, words

__all__ = ["note"]

TEXT = (
    "{ipv4:,} made IPv4 prefixes (3 or 4 to an UPDATE, {blocks:,} sets of attributes), {ipv6:,} IPv6 ones, and a "
    "table that a RIPE RIS collector received in 2015 (its next hops replaced by the neighbour's). Testers send "
    "octets that were made before; `tester` is what one needs for the whole IPv4 table into a sink: it is never what "
    "limits. GoBGP installs through FRR's zebra, `exabgp-ip` is stock ExaBGP with a script that feeds `ip -batch`. "
    "**load:** from the first octet sent; `_xdp` until the last of {samples} sampled prefixes, one at the end of the "
    "feed among them, forwards a packet out of the right interface (the kernel's forwarding off on the way in), else "
    "until the last route is in the kernel by the kernel's own count. **update:** one UPDATE to the first packet on "
    "the new path, at random times and 60 a second, then at 1,000 a second; `bridge` is what of the former the "
    "bridge's own histogram says (bgpbridge_update_store_seconds); **storm:** the same while another neighbour sends "
    "1,000 UPDATE/s, and while a third one loads the whole table. **memory:** PSS of all processes, one and two "
    "feeds; `maps` as the kernel accounts for them: those that the bridge has mapped are in its PSS as well, and a "
    "trie takes about three times what the kernel says. **losses:** until the last sampled prefix has moved to the "
    "other uplink, from the close of TCP and from the kernel's word that the carrier has gone. **withdraw_all:** the "
    "only neighbour leaves; until all routes are out of the kernel (and of XDP). **policy_reload:** two feeds, a "
    "policy of 50 terms on the first; from the changed file until the last of the sampled prefixes that it refuses "
    "now has moved. **restart:** the bridge process is killed; until all is adopted and refreshed and an audit is "
    "clean, and packets of 1,000 a second that were lost. **loop_lag, status:** how late the bridge's event loop is "
    "by its own histogram (bgpbridge_loop_lag_seconds), and how long `status` takes, while the whole table comes in, "
    "until the samples are forwarded; **probe_late, keepalive_gap:** how much later than every 50 ms the bridge's "
    "probes come to another neighbour, and how long that one waits for a KEEPALIVE at most, which is due every second, "
    "until the kernel has the table as well. **peers:** whole tables from several neighbours at once. "
    "**audit_divergent:** prefixes that differ between tables, XDP and kernel in an audit of everything in each turn "
    "of ours. A row without a figure was watched for as long as it says, or the turn was over. {slow} run "
    "{slow_runs}, the others {runs} times in alternation; GoBGP and ExaBGP are given neither a second feed of "
    "the whole size nor the real table. The last table says what a route costs as tables and neighbours grow: a small "
    "table pays most for what it does not make larger (sessions, groups, the word that all is there), a large one for "
    "caches that are too small for it; a further neighbour's route is decided, but only better ones are installed."
)


def note(scale: Scale, missing: Sequence[str]) -> str:
    """How it was measured, and what is not there and why."""
    text = TEXT.format(
        ipv4=scale.ipv4,
        ipv6=scale.ipv6,
        blocks=round(scale.ipv4 / 3.5),
        samples=scale.samples,
        slow=", ".join(sorted(SLOW)),
        slow_runs="once" if scale.slow_runs == 1 else f"{scale.slow_runs} times",
        runs=scale.runs,
    )
    sizes = ", ".join(map(words, scale.sizes))
    return f"{text} Sizes beside the whole: {sizes}." + "".join(f" Left out: {reason}." for reason in missing)
