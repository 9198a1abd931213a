"""The commands that look: each asks one path of the control API and prints the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import click

from bgpbridge.api.client import Client
from bgpbridge.cli.commands import JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.text.counters import counters_text, rates_text
from bgpbridge.cli.text.events import event_text
from bgpbridge.cli.text.explain import explain_text
from bgpbridge.cli.text.health import health_text
from bgpbridge.cli.text.packet import talkers_text
from bgpbridge.cli.text.paths import paths_text, would_text
from bgpbridge.cli.text.peers import peer_text, peers_text
from bgpbridge.cli.text.planes import adjacencies_text, fib_text, groups_text
from bgpbridge.cli.text.routes import routes_text
from bgpbridge.cli.text.rpki import rpki_text, validity_text
from bgpbridge.cli.text.status import status_text
from bgpbridge.errors import BridgeError

__all__ = ["COMMANDS"]

COMPLETE_WITHIN_S = 1.0


def _peer_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For the shell: names of the daemon's peers; nothing where there is no daemon."""
    del parameter
    client = Client(context.find_root().params["socket_path"], timeout_s=COMPLETE_WITHIN_S)
    try:
        return [peer["name"] for peer in client.get("/v1/peers") if peer["name"].startswith(incomplete)]
    except BridgeError:
        return []


@click.command(cls=Command)
@JSON
@pass_asking
def status(asking: Asking, as_json: bool) -> None:
    """Is it forwarding, on what, how much, and does anything need attention."""
    asking.show("/v1/status", {}, as_json, status_text)


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=_peer_names)
@click.option(
    "--clear-hold-off",
    is_flag=True,
    help="Let NAME, held off after a reset or for its max_prefix, connect again.",
)
@JSON
@pass_asking
def peers(asking: Asking, name: str | None, clear_hold_off: bool, as_json: bool) -> None:
    """All peers, or everything about the one called NAME."""
    if clear_hold_off:
        if name is None:
            raise click.UsageError("--clear-hold-off needs the NAME of a peer")
        say(asking.client.post(f"/v1/peers/{name}/clear-hold-off"), as_json, lambda answer: [answer["text"]])
    elif name is None:
        asking.show("/v1/peers", {}, as_json, lambda answer: peers_text(answer, time.time()))
    else:
        asking.show(f"/v1/peers/{name}", {}, as_json, lambda answer: peer_text(answer, time.time()))


@click.command(cls=Command)
@click.option("--peer", shell_complete=_peer_names, help="Only paths of this peer.")
@click.option("--prefix", help="Only this prefix and what is inside it, such as 192.0.2.0/24.")
@click.option("--family", type=click.Choice(["ipv4", "ipv6"]), help="Only this address family.")
@click.option("--best", is_flag=True, help="Only paths that carry traffic: best and multipath.")
@click.option("--rejected", is_flag=True, help="Only paths that import policy refused, each with the line that did.")
@click.option("--overridden", is_flag=True, help="Only paths of prefixes that an override decides on.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many; 0 is all.")
@JSON
@pass_asking
def routes(asking: Asking, /, as_json: bool, limit: int, **wanted: str | bool | None) -> None:
    """Paths that peers sent, with what became of each."""
    if wanted["best"] and wanted["rejected"]:
        raise click.UsageError("--best and --rejected exclude each other: a refused path is never the best")
    query = {key: "1" if value is True else str(value) for key, value in wanted.items() if value}
    query["limit"] = str(limit)
    answer = asking.show("/v1/routes", query, as_json, lambda found: routes_text(found, time.time()))
    if limit and len(answer) == limit:
        click.echo(f"the first {limit} are shown: --limit 0 shows all", err=True)


@click.command(cls=Command)
@click.argument("address")
@JSON
@pass_asking
def route(asking: Asking, address: str, as_json: bool) -> None:
    """All paths of the longest prefix that holds ADDRESS."""
    asking.show(f"/v1/route/{address}", {}, as_json, lambda answer: routes_text(answer, time.time()))


@click.command(cls=Command)
@click.argument("target", metavar="ADDRESS|PREFIX")
@JSON
@pass_asking
def explain(asking: Asking, target: str, as_json: bool) -> None:
    """Why packets go where they go: policy, decision, group, adjacency, XDP, kernel, history."""
    asking.show(f"/v1/explain/{target}", {}, as_json, explain_text)


@click.command(cls=Command)
@click.argument("address")
@JSON
@pass_asking
def fib(asking: Asking, address: str, as_json: bool) -> None:
    """What XDP and the kernel hold for ADDRESS, asked from both."""
    asking.show(f"/v1/fib/{address}", {}, as_json, fib_text)


@click.command(cls=Command)
@JSON
@pass_asking
def groups(asking: Asking, as_json: bool) -> None:
    """Next-hop groups: which paths share or back up the traffic, and who carries it."""
    asking.show("/v1/groups", {}, as_json, groups_text)


@click.command(cls=Command)
@JSON
@pass_asking
def adjacencies(asking: Asking, as_json: bool) -> None:
    """Neighbours that packets are sent to, with MAC address, state and traffic."""
    asking.show("/v1/adjacencies", {}, as_json, adjacencies_text)


@click.command(cls=Command)
@JSON
@pass_asking
def health(asking: Asking, as_json: bool) -> None:
    """Checks and BFD: state, last result, since when, and what is withdrawn."""
    asking.show("/v1/health", {}, as_json, lambda answer: health_text(answer, time.time()))


@click.command(cls=Command)
@click.option("--peer", shell_complete=_peer_names, help="Only ways that next hops of this peer lead to.")
@click.option(
    "--would", "decided", is_flag=True, help="What latency does or would do with each set of groups, and why."
)
@JSON
@pass_asking
def paths(asking: Asking, peer: str | None, decided: bool, as_json: bool) -> None:
    """Ways out with round-trip times, jitter and loss, and what latency makes of them."""
    if decided and peer is not None:
        raise click.UsageError("--would goes by groups, not by peers: leave out --peer")
    if decided:
        asking.show("/v1/paths/would", {}, as_json, would_text)
    else:
        asking.show("/v1/paths", {"peer": peer} if peer is not None else {}, as_json, paths_text)


@click.command(cls=Command)
@click.option("--all", "every", is_flag=True, help="Also what has never happened.")
@click.option(
    "--watch", "interval_s", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Rates, again and again."
)
@click.option("--prefixes", is_flag=True, help="The prefixes that most octets go to, sampled meanwhile.")
@click.option(
    "--seconds", type=click.IntRange(1, 60), default=5, show_default=True, help="With --prefixes: sample for so long."
)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="With --prefixes: the most of them."
)
@JSON
@pass_asking
def counters(
    asking: Asking, every: bool, interval_s: float | None, prefixes: bool, seconds: int, limit: int, as_json: bool
) -> None:
    """What became of every packet that XDP saw; or, for some seconds, where most of them go."""
    if prefixes:
        if every or interval_s is not None:
            raise click.UsageError("--prefixes goes alone: leave out --all and --watch")
        query = {"seconds": str(seconds), "limit": str(limit)}
        asking.show("/v1/counters/prefixes", query, as_json, talkers_text)
        return
    if interval_s is not None:
        _watch(lambda: asking.client.get("/v1/counters"), interval_s, as_json)
    asking.show("/v1/counters", {}, as_json, lambda answer: counters_text(answer, every=every))


def _watch(ask: Callable[[], Any], interval_s: float, as_json: bool) -> None:
    """Until interrupted: what came in each interval; as JSON the counters themselves, an array a line."""
    began, before = time.monotonic(), ask()
    while True:
        time.sleep(interval_s)
        now, after = time.monotonic(), ask()
        lines = [json.dumps(after)] if as_json else [*rates_text(before, after, now - began), ""]
        click.echo("\n".join(lines))
        began, before = now, after


@click.command(cls=Command)
@click.option("--follow", "-f", is_flag=True, help="Go on with events as they happen.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many past ones.")
@JSON
@pass_asking
def events(asking: Asking, follow: bool, limit: int, as_json: bool) -> None:
    """What happened: sessions, links, refusals, repairs. With --json one object a line when following."""
    query = {"limit": str(limit)}
    if not follow:
        asking.show("/v1/events", query, as_json, lambda answer: map(event_text, answer))
        return
    for event in asking.client.follow("/v1/events", {**query, "follow": "1"}):
        click.echo(json.dumps(event) if as_json else event_text(event))


@click.command(cls=Command)
@click.argument("prefix", required=False)
@click.argument("asn", required=False)
@JSON
@pass_asking
def rpki(asking: Asking, prefix: str | None, asn: str | None, as_json: bool) -> None:
    """Where VRPs come from, and routes by state; or what they say of PREFIX from origin ASN."""
    if prefix is None:
        asking.show("/v1/rpki", {}, as_json, rpki_text)
    elif asn is None:
        raise click.UsageError("PREFIX needs the ASN that originates it, such as: bgpbridge rpki 192.0.2.0/24 65001")
    else:
        asking.show(f"/v1/rpki/{asn}/{prefix}", {}, as_json, validity_text)


COMMANDS = (status, peers, routes, route, explain, fib, groups, adjacencies, paths, health, rpki, counters, events)
