"""Overrides by the API: the same three things for the command line behind the control socket and for HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.api.parameters import optional
from bgpbridge.api.table import Call, Parameter, Route
from bgpbridge.policy.override_schema import OverrideText
from bgpbridge.view.overrides import OverrideView, override_view, overrides

__all__ = ["OVERRIDES"]

BY = optional("by", str, "Who asks, where the request does not tell: the command line's user")
NAME: Parameter[str] = Parameter(
    "override", str, "Its id, or its prefix as the list writes it", {"type": "string", "minLength": 1}, deep=True
)
MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class RemovedView:
    """An override that was given at run time and is not there any more."""

    name: str
    text: str


def _source(call: Call) -> str:
    """Who gave it, as the list and `explain` show it."""
    name = "".join(letter for letter in call[BY] or "" if letter.isprintable())[:MOST_NAME]
    kind = "http" if call.request.path.startswith("/api/") else "command"
    return f"{kind} by {name}" if name else kind


def _add(call: Call) -> OverrideView:
    return override_view(call.bridge, call.bridge.overrides.add(call.body, _source(call)))


def _remove(call: Call) -> RemovedView:
    one = call.bridge.overrides.remove(call[NAME])
    return RemovedView(one.name, f"{one.name} removed: {one.scope_text}, {one.what}")


OVERRIDES = (
    Route(
        "GET",
        "/overrides",
        "All overrides, and how each stands",
        lambda call: overrides(call.bridge),
        list[OverrideView],
    ),
    Route(
        "POST",
        "/overrides",
        "Override a prefix: an object as in a policy file",
        _add,
        OverrideView,
        (BY,),
        body=OverrideText,
        writes=True,
    ),
    Route(
        "DELETE",
        "/overrides/{override}",
        "Lift an override that was given at run time",
        _remove,
        RemovedView,
        (NAME,),
        writes=True,
    ),
)
