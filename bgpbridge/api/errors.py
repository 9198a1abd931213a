"""Refusals as HTTP says them: a status, and JSON with what, expected and mend, always of the same form."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from bgpbridge.errors import AbsentError, BridgeError, UsageError

__all__ = ["Handler", "RefusalView", "RequestError", "errors", "refusal"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger("bgpbridge.api")
MANUAL = "docs/api.md lists the paths"
MENDS = {
    404: MANUAL,
    405: "the header Allow lists the methods that this path takes",
    413: "send less",
}


@dataclass(frozen=True, slots=True)
class RefusalView:
    """What every refusal says: `error` what happened, `expected` what would have been right (may be empty), `mend` how
    to put it right, `exit_code` what the command line ends with."""

    error: str
    expected: str
    mend: str
    exit_code: int


class RequestError(UsageError):
    """A request that is not what its path takes. `status` is HTTP's (RFC 9110 s15.5), `headers` go with it."""

    def __init__(
        self,
        what: str,
        *,
        expected: str = "",
        mend: str = "",
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, mend=mend)
        self.expected, self.status, self.headers = expected, status, dict(headers or {})


def refusal(status: int, view: RefusalView, headers: Mapping[str, str] | None = None) -> web.Response:
    """The response that carries a refusal."""
    body = {"error": view.error, "expected": view.expected, "mend": view.mend, "exit_code": view.exit_code}
    return web.json_response(body, status=status, headers=dict(headers or {}))


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal of ours becomes its text and mend, with a status that tells usage from failure; what aiohttp refuses
    gets the same form."""
    try:
        return await handler(request)
    except BridgeError as error:
        expected = error.expected if isinstance(error, RequestError) else ""
        headers = error.headers if isinstance(error, RequestError) else {}
        return refusal(_status(error), RefusalView(error.what, expected, error.mend, error.exit_code), headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        what = f"no such path: {request.path}" if error.status == 404 else (error.reason or "refused")
        kept = {key: value for key, value in error.headers.items() if key in {"Allow", "Retry-After"}}
        view = RefusalView(what, "", MENDS.get(error.status, ""), UsageError.exit_code)
        return refusal(error.status, view, kept)


def _status(error: BridgeError) -> int:
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, AbsentError):
        return 404
    return 400 if error.exit_code == UsageError.exit_code else 500
