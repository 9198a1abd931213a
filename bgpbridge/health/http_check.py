"""The HTTP(S) check: one GET over a connection of its own, bound to the link that it is to leave by.

Redirects are not followed: they would ask somebody else. No proxy of the environment is used. At most `MOST_OCTETS` of
the answer are read. What keeps the request from leaving (no route, no such name) says nothing of the server: unknown.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bgpbridge.health.results import CheckResult, Said
from bgpbridge.types import Family, IPAddress

__all__ = ["HttpQuestion", "ask_http"]

MOST_OCTETS = 1 << 16
SO_BINDTOIFINDEX = 62  # asm-generic/socket.h
OURS = frozenset({errno.ENETUNREACH, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """What to ask and what is fine. `status` empty: 200 to 299. `target`: connect there, whatever the URL's host."""

    url: str
    timeout_s: float
    status: tuple[int, ...] = ()
    body: str | None = None
    tls_verify: bool = True
    tls_ca: Path | None = None
    target: IPAddress | None = None
    ifindex: int = 0


class _Always(AbstractResolver):
    """Every name is at one address."""

    def __init__(self, address: IPAddress) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        found = Family.of(self._address).af
        entry = ResolveResult(
            hostname=host, host=str(self._address), port=port, family=found, proto=0, flags=socket.AI_NUMERICHOST
        )
        return [entry]

    async def close(self) -> None:
        """Nothing is open."""


async def ask_http(question: HttpQuestion) -> CheckResult:
    """Ask once. Never raises for what the network or the server does."""
    began_s = time.monotonic()

    def result(said: Said, text: str, mend: str = "") -> CheckResult:
        return CheckResult(said, text, time.monotonic() - began_s, mend)

    try:
        async with asyncio.timeout(question.timeout_s):
            return result(*await _ask(question))
    except TimeoutError:
        return result(Said.FAIL, f"no answer in {question.timeout_s:g} s")
    except aiohttp.ClientConnectorDNSError as error:
        return result(Said.UNKNOWN, f"no address for {error.host}", "a `target`, or an address in `url`")
    except aiohttp.ClientConnectorCertificateError as error:
        return result(Said.FAIL, f"its certificate is refused: {error.certificate_error}")
    except aiohttp.ClientSSLError as error:  # its number is OpenSSL's, which as one of the system's reads EPERM
        return result(Said.FAIL, f"no TLS with it: {error.strerror or error}")
    except aiohttp.ClientOSError as error:
        if error.errno in OURS:
            return result(
                Said.UNKNOWN, f"could not be sent: {os.strerror(error.errno)}", "is there a route, and is the link up?"
            )
        return result(Said.FAIL, os.strerror(error.errno).lower() if error.errno else str(error))
    except (aiohttp.ClientError, ssl.SSLError) as error:
        return result(Said.FAIL, f"no good answer: {str(error)[:200] or type(error).__name__}")
    except OSError as error:
        return result(Said.UNKNOWN, f"could not be asked: {error}", "can `tls_ca` be read?")


async def _ask(question: HttpQuestion) -> tuple[Said, str]:
    connector = aiohttp.TCPConnector(
        ssl=await _tls(question),
        force_close=True,
        use_dns_cache=False,
        resolver=_Always(question.target) if question.target is not None else None,
        socket_factory=lambda info: _socket(info, question.ifindex),
    )
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(question.url, allow_redirects=False, headers={"User-Agent": "bgpbridge-health"}) as answer,
    ):
        fine = answer.status in question.status if question.status else 200 <= answer.status <= 299
        if not fine:
            return Said.FAIL, f"status {answer.status}"
        if question.body is None:
            return Said.PASS, f"status {answer.status}"
        octets = b""
        while len(octets) < MOST_OCTETS and (piece := await answer.content.read(MOST_OCTETS - len(octets))):
            octets += piece
        if question.body.encode() in octets:
            return Said.PASS, f"status {answer.status}, as expected"
        return Said.FAIL, f"status {answer.status}, without the text that is expected"


async def _tls(question: HttpQuestion) -> ssl.SSLContext | bool:
    if not question.url.startswith("https:") or not question.tls_verify:
        return False
    cafile = str(question.tls_ca) if question.tls_ca is not None else None
    return await asyncio.to_thread(ssl.create_default_context, cafile=cafile)  # reads files


def _socket(info: Any, ifindex: int) -> socket.socket:
    """Bound to the link before it connects, which takes no privilege then."""
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    try:
        if ifindex:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, ifindex)
    except OSError:
        made.close()
        raise
    return made
