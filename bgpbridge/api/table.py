"""What a row of the API's table is: a path, what it takes, what it gives, and what answers.

The control socket and HTTP serve the same rows (`routes.ROUTES`), the OpenAPI document is written from them, and every
request is held against its row before anything of ours sees it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiohttp import web
from pydantic import BaseModel

if TYPE_CHECKING:
    from bgpbridge.api.reloading import Reloading
    from bgpbridge.pipeline.bridge import Bridge

__all__ = ["JSON", "Call", "Parameter", "Route", "Schema"]

T = TypeVar("T")
Schema = Mapping[str, Any]
JSON = "application/json"


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Generic[T]):
    """One value of a path or of a query. `parse` makes it of its text and raises UsageError; `default` is what a query
    without it means. `deep`: a last part of a path that may hold slashes, as a prefix does."""

    name: str
    parse: Callable[[str], T]
    text: str
    schema: Schema
    default: T | None = None
    deep: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request that fits its row. `call[PARAMETER]` is the value of a parameter; `body` the model of the row's
    `body`, None for a row without one."""

    bridge: Bridge
    reloading: Reloading
    request: web.Request
    values: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None

    @property
    def over_tcp(self) -> bool:
        """True for HTTP: who asks is not root here, and answers are bounded."""
        transport = self.request.transport
        return transport is None or not isinstance(transport.get_extra_info("sockname"), str)

    def __getitem__(self, parameter: Parameter[T]) -> T:
        return cast("T", self.values[parameter.name])


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One row. `answer` returns a value that `view.plain` can show, an awaitable of one, or a response that it has
    written itself (`streams`: for as long as the other end listens, so that no time limit holds).

    `returns` is the type of the value, for the OpenAPI document (`unready`: it may come with status 503); `body` the
    model of a JSON body. `writes`: over TCP it takes a token. Raise UsageError for what cannot be done as asked (400),
    AbsentError for what is not there (404).
    """

    method: str
    path: str
    summary: str
    answer: Callable[[Call], Any]
    returns: Any
    parameters: tuple[Parameter[Any], ...] = ()
    body: type[BaseModel] | None = None
    writes: bool = False
    streams: bool = False
    unready: bool = False
    media: str = JSON

    @property
    def in_path(self) -> frozenset[str]:
        """Names of the parameters that are parts of the path."""
        return frozenset(re.findall(r"\{(\w+)\}", self.path))

    @property
    def pattern(self) -> str:
        """The path as aiohttp's router takes it."""
        path = self.path
        for parameter in self.parameters:
            if parameter.deep:
                path = path.replace(f"{{{parameter.name}}}", f"{{{parameter.name}:.+}}")
        return path

    async def value(self, call: Call) -> Any:
        """What `answer` returns, waited for where it has to be."""
        found = self.answer(call)
        return await found if inspect.isawaitable(found) else found
