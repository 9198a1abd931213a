"""The HTTP check against real servers on loopback, good ones and bad."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web

from bgpbridge.health.http_check import HttpQuestion, ask_http
from bgpbridge.health.results import CheckResult, Said

LOOPBACKS = ("127.0.0.1", "::1")
Question = Callable[[str], HttpQuestion]


async def fine(_: web.Request) -> web.Response:
    return web.Response(text="so far all is well here")


async def ill(_: web.Request) -> web.Response:
    return web.Response(status=503, text="all is well")


async def elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("/fine")


async def named(request: web.Request) -> web.Response:
    return web.Response(text=f"you asked {request.host}")


async def silent(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    """What is looked for comes after more than is read."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(64):
        await answer.write(b"x" * 4096)
    await answer.write(b"all is well")
    await asyncio.Event().wait()
    return answer


async def trickling(request: web.Request) -> web.StreamResponse:
    """A body that has begun and does not end."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"all is")
    await asyncio.Event().wait()
    return answer


HANDLERS = (fine, ill, elsewhere, named, silent, endless, trickling)


def served(
    scenario: Callable[[int], Awaitable[CheckResult]], tls: ssl.SSLContext | None = None, at: str = LOOPBACKS[0]
) -> CheckResult:
    """What is asked while a server runs; the scenario is given its port."""

    async def body() -> CheckResult:
        app = web.Application()
        app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in HANDLERS])
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, at, 0, ssl_context=tls)
            await site.start()
            return await scenario(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    return asyncio.run(body())


def ask(path: str, *, at: str = LOOPBACKS[0], **more: object) -> CheckResult:
    """One question to the plain server."""
    host = f"[{at}]" if ":" in at else at
    question = replace(HttpQuestion("", 5.0), **more)  # type: ignore[arg-type]
    return served(lambda port: ask_http(replace(question, url=f"http://{host}:{port}/{path}")), at=at)


@pytest.mark.parametrize(
    ("path", "more", "said", "words"),
    [
        ("fine", {}, Said.PASS, "status 200"),
        ("fine", {"status": (204, 301)}, Said.FAIL, "status 200"),
        ("ill", {}, Said.FAIL, "status 503"),
        ("ill", {"status": (503,)}, Said.PASS, "status 503"),
        ("nowhere", {}, Said.FAIL, "status 404"),
        ("fine", {"body": "all is well"}, Said.PASS, "status 200, as expected"),
        ("fine", {"body": "all is lost"}, Said.FAIL, "status 200, without the text that is expected"),
        ("ill", {"body": "all is well"}, Said.FAIL, "status 503"),
        ("elsewhere", {}, Said.FAIL, "status 302"),
        ("elsewhere", {"status": (302,)}, Said.PASS, "status 302"),
        ("silent", {"timeout_s": 0.2}, Said.FAIL, "no answer in 0.2 s"),
        ("trickling", {"timeout_s": 0.2, "body": "all is well"}, Said.FAIL, "no answer in 0.2 s"),
        ("endless", {"body": "all is well"}, Said.FAIL, "status 200, without the text that is expected"),
        ("endless", {}, Said.PASS, "status 200"),
    ],
)
def test_status_and_body_decide(path: str, more: dict[str, object], said: Said, words: str) -> None:
    result = ask(path, **more)
    assert (result.said, result.text) == (said, words)
    assert result.took_s is not None


def test_over_ipv6() -> None:
    assert ask("fine", at=LOOPBACKS[1]).said is Said.PASS


@pytest.mark.parametrize("at", LOOPBACKS)
def test_a_target_is_asked_in_place_of_the_urls_host(at: str) -> None:
    def scenario(port: int) -> Awaitable[CheckResult]:
        question = HttpQuestion(f"http://web.example:{port}/named", 5.0, body="you asked web.example")
        return ask_http(replace(question, target=ip_address(at)))

    assert served(scenario, at=at).text == "status 200, as expected"


def test_bound_to_a_link_it_leaves_by_that_one_only() -> None:
    assert ask("fine", ifindex=socket.if_nametoindex("lo")).said is Said.PASS
    assert ask("fine", ifindex=1 << 20).said is Said.UNKNOWN, "a link that is not there says nothing of the server"


@pytest.mark.parametrize("at", LOOPBACKS)
def test_a_refused_connection_is_a_failure(at: str) -> None:
    with socket.create_server((at, 0), family=socket.AF_INET6 if ":" in at else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
    host = f"[{at}]" if ":" in at else at
    result = asyncio.run(ask_http(HttpQuestion(f"http://{host}:{port}/", 5.0)))
    assert (result.said, result.text) == (Said.FAIL, "connection refused")


def test_what_is_no_http_is_a_failure() -> None:
    async def body() -> CheckResult:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, LOOPBACKS[0], 0) as server:
            return await ask_http(HttpQuestion(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", 5.0))

    result = asyncio.run(body())
    assert (result.said, result.text.startswith("no good answer: ")) == (Said.FAIL, True)


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of web.example, signed by itself, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=web.example", "-addext", "subjectAltName=DNS:web.example"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    (folder / "both.pem").write_text(key.read_text() + cert.read_text())
    return folder / "both.pem"


@pytest.mark.parametrize(
    ("host", "verify", "known", "said", "words"),
    [
        ("web.example", True, True, Said.PASS, "status 200"),
        ("web.example", True, False, Said.FAIL, "its certificate is refused"),
        ("other.example", True, True, Said.FAIL, "its certificate is refused"),
        ("other.example", False, False, Said.PASS, "status 200"),
    ],
)
def test_certificates(certificate: Path, host: str, verify: bool, known: bool, said: Said, words: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    ca = certificate.with_name("cert.pem") if known else None

    def scenario(port: int) -> Awaitable[CheckResult]:
        url = f"https://{host}:{port}/fine"
        return ask_http(HttpQuestion(url, 5.0, tls_verify=verify, tls_ca=ca, target=ip_address(LOOPBACKS[0])))

    result = served(scenario, tls)
    assert result.said is said
    assert result.text.startswith(words)


def test_https_to_a_server_without_tls_is_a_failure() -> None:
    result = served(lambda port: ask_http(HttpQuestion(f"https://127.0.0.1:{port}/fine", 5.0)))
    assert (result.said, result.text.startswith("no TLS with it: ")) == (Said.FAIL, True)


def test_certificates_that_cannot_be_read_say_nothing_of_the_server(tmp_path: Path) -> None:
    question = HttpQuestion("https://127.0.0.1:9/", 5.0, tls_ca=tmp_path / "none.pem")
    result = asyncio.run(ask_http(question))
    assert (result.said, result.mend) == (Said.UNKNOWN, "can `tls_ca` be read?")
