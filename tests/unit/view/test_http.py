"""HTTP as curl and browsers meet it: a real bridge answers over TCP, the wrong ways too."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import ssl
import subprocess
from contextlib import suppress

import aiohttp
import pytest

from bgpbridge.api.http import HttpServer
from bgpbridge.api.reloading import Reloading
from bgpbridge.config.http import Http, Tls
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.pipeline.peers import Phase

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def ask(rig):
    """Run `question(session, url)` in the bridge's own loop while HTTP serves on a free port."""
    rig.session("isp-a")
    rig.announce("isp-a", [f"100.64.{n}.0/24" for n in range(200)] + ["10.1.0.0/16"], [64601, 64500])

    def asked(question, **settings):
        async def served():
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            http = Http(port=port, **settings)
            server = HttpServer(rig.bridge, http, Reloading(rig.bridge))
            await server.start()
            scheme = "https" if http.tls else "http"
            try:
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
                    return await question(session, f"{scheme}://127.0.0.1:{port}")
            finally:
                await server.stop()

        return rig.loop.run_until_complete(served())

    return asked


def answer_of(ask, path, method="GET", settings=None, **more):
    """Status, headers, and the body as JSON or text."""

    async def question(session, url):
        async with session.request(method, url + path, **more) as answer:
            text = await answer.text()
            return answer.status, answer.headers, json.loads(text) if text and "json" in answer.content_type else text

    return ask(question, **(settings or {}))


def test_the_same_as_the_control_socket_says(ask, rig):
    status, headers, body = answer_of(ask, "/api/v1/status")
    assert (status, body["name"], body["routes"]["ipv4"]) == (200, "edge", 200)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert len(answer_of(ask, "/api/v1/routes?limit=10000")[2]) == 201
    assert answer_of(ask, "/api/v1/explain/100.64.7.0%2F24")[2]["prefix"] == "100.64.7.0/24"


def test_metrics_in_both_formats(ask):
    status, headers, text = answer_of(ask, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert "bgpbridge_info{" in text
    _, headers, text = answer_of(ask, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/api/v1/peers/nobody", 404, "there is no peer nobody"),
        ("GET", "/api/v1/nonsense", 404, "no such path"),
        ("DELETE", "/api/v1/status", 405, "Method Not Allowed"),
        ("GET", "/api/v1/audit", 405, "Method Not Allowed"),
        ("GET", "/api/v1/routes?limit=-1", 400, "is not a number"),
        ("GET", "/api/v1/routes?limit=1&limit=2", 400, "limit is there twice"),
        ("GET", "/api/v1/status?x=1", 400, "unknown parameter `x`"),
        ("GET", "/readyz?exclude=weather", 400, "no check `weather`"),
        ("GET", "/events?severity=fatal", 400, "is not known"),
        ("POST", "/api/v1/audit", 403, "nothing can be changed over HTTP here"),
    ],
)
def test_refusals_are_json_with_a_mend(ask, method, path, status, said):
    found, _, body = answer_of(ask, path, method)
    assert found == status
    assert said in body["error"]
    assert body["mend"]


def test_head_has_headers_and_no_body(ask):
    for path in ("/api/v1/status", "/api/v1/routes", "/metrics", "/healthz", "/events", "/"):
        status, _, body = answer_of(ask, path, "HEAD")
        assert (status, body or "") == (200, ""), path


def test_versions_of_what_serves_are_not_told(ask):
    for path in ("/", "/healthz", "/metrics", "/api/v1/nonsense"):
        assert answer_of(ask, path)[1].getall("Server") == ["bgpbridge"], path


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic cm9vdDpyb290"}, 401),
        (bearer(TOKEN[:-1]), 401),
        (bearer("ä" * 32), 401),
        ({**bearer(TOKEN), "Origin": "http://evil.example"}, 403),
        ({**bearer(TOKEN), "Origin": "null"}, 403),
        ({**bearer(TOKEN), "Sec-Fetch-Site": "cross-site"}, 403),
        ({**bearer(TOKEN), "Host": "evil.example"}, 421),
        (bearer(TOKEN), 200),
    ],
)
def test_writing_takes_the_token_and_our_own_page(ask, token_file, headers, status):
    found, said, body = answer_of(ask, "/api/v1/audit", "POST", {"token_file": token_file}, headers=headers)
    assert found == status
    assert body["clean"] if status == 200 else body["mend"]
    assert ("WWW-Authenticate" in said) == (status == 401)
    assert TOKEN not in json.dumps(body)
    assert str(token_file) not in json.dumps(body), "a stranger learns paths of this machine"


def test_a_new_token_holds_at_once_and_an_open_file_is_refused(ask, token_file):
    async def question(session, url):
        token_file.write_text("another-token-of-ours\n")
        first = await session.post(f"{url}/api/v1/audit", headers=bearer("another-token-of-ours"))
        token_file.chmod(0o644)
        second = await session.post(f"{url}/api/v1/audit", headers=bearer("another-token-of-ours"))
        return first.status, second.status, (await second.json())["error"]

    first, second, said = ask(question, token_file=token_file)
    assert (first, second) == (200, 403)
    assert "open to others (mode 0644)" in said


def test_names_of_a_proxy_can_be_allowed(ask):
    headers = {"Host": "lg.example.net"}
    assert answer_of(ask, "/api/v1/status", headers=headers)[0] == 421
    assert answer_of(ask, "/api/v1/status", settings={"names": ("lg.example.net",)}, headers=headers)[0] == 200
    assert answer_of(ask, "/api/v1/status", headers={"Host": "localhost:9479"})[0] == 200
    assert answer_of(ask, "/api/v1/status", headers={"Host": "[::1]:9479"})[0] == 200


def test_bodies_are_bounded_and_not_wanted(ask, token_file):
    settings = {"token_file": token_file}
    more = {"settings": settings, "headers": bearer(TOKEN)}
    status, _, body = answer_of(ask, "/api/v1/audit", "POST", data=io.BytesIO(b"x" * (2 << 20)), **more)
    assert (status, body["exit_code"]) == (413, 2)
    status, _, body = answer_of(ask, "/api/v1/audit", "POST", data=b"{}", **more)
    assert (status, body["error"]) == (400, "/audit takes no body")


def test_health_and_readiness(ask, rig):
    assert answer_of(ask, "/healthz")[2] == {"alive": True}
    status, _, body = answer_of(ask, "/readyz")
    missing = {check["name"]: check["missing"] for check in body["checks"] if not check["ready"]}
    assert (status, body["ready"], set(missing)) == (503, False, {"adoption", "sessions"} & set(missing))
    assert "closed is" in missing["sessions"]
    for peer in rig.bridge.peers:
        peer.phase = Phase.ESTABLISHED
    status, _, body = answer_of(ask, "/readyz?exclude=adoption")
    assert (status, body["ready"]) == (200, True)


def test_the_page_needs_nothing_from_elsewhere(ask):
    status, headers, page = answer_of(ask, "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert not re.search(r"https?://|<style|<script>|\son\w+=", page)
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        assert answer_of(ask, f"/{name}")[0] == 200
    assert answer_of(ask, "/page/../api/http.py")[0] == 404
    assert answer_of(ask, "/page/%2e%2e/metrics.py")[0] in {403, 404}


def test_a_port_in_use_says_what_to_do(rig):
    with socket.create_server(("127.0.0.1", 0)) as taken:

        async def start() -> None:
            server = HttpServer(rig.bridge, Http(port=taken.getsockname()[1]), Reloading(rig.bridge))
            try:
                await server.start()
            finally:
                await server.stop()

        with pytest.raises(BridgeError, match=r"HTTP cannot listen on 127\.0\.0\.1") as told:
            asyncio.run(start())
    assert "http.port" in told.value.mend


def test_no_http_no_listener(rig):
    asyncio.run(HttpServer(rig.bridge, None, Reloading(rig.bridge)).start())


# -- events ------------------------------------------------------------------------------------------------------


async def lines_until(answer, wanted):
    """Lines of a stream up to one that holds `wanted`."""
    found = []
    async with asyncio.timeout(10):
        async for line in answer.content:
            found.append(line.decode().rstrip("\n"))
            if wanted in found[-1]:
                return found
    raise AssertionError(found)


def test_events_resume_where_a_browser_left(ask, rig):
    events = rig.bridge.events

    async def question(session, url):
        events.add("test", "isp-a", "one")
        async with session.get(f"{url}/events?limit=1") as first:
            assert first.content_type == "text/event-stream"
            seen = await lines_until(first, '"one"')
            events.add("test", "isp-a", "two")
            seen += await lines_until(first, '"two"')
        last = next(line for line in seen if line.startswith("id:"))[4:]
        async with session.get(f"{url}/events", headers={"Last-Event-ID": last}) as again:
            missed = await lines_until(again, '"two"')
        async with session.get(f"{url}/events", headers={"Last-Event-ID": "0-1"}) as other_run:
            whole = await lines_until(other_run, '"two"')
        return missed, whole

    missed, whole = ask(question)
    assert not any('"one"' in line for line in missed)
    assert any('"one"' in line for line in whole)


def test_events_by_subject_and_severity(ask, rig):
    events = rig.bridge.events

    async def question(session, url):
        async with session.get(f"{url}/events?subject=isp-b&severity=warning") as answer:
            await lines_until(answer, "retry")
            for subject, severity in (("isp-a", "error"), ("isp-b", "info"), ("isp-b", "warning")):
                events.add("test", subject, f"{subject} {severity}", type(events.tail(1)[0].severity)(severity))
            return await lines_until(answer, "isp-b warning")

    assert sum("data:" in line for line in ask(question)) == 1


def test_listeners_are_bounded_and_a_place_is_given_back(ask, monkeypatch):
    monkeypatch.setattr(
        "bgpbridge.api.http.Streams", lambda: __import__("bgpbridge.api.streams").api.streams.Streams(2)
    )

    async def question(session, url):
        first, second = await session.get(f"{url}/events"), await session.get(f"{url}/events")
        third = await session.get(f"{url}/events")
        refused = third.status, third.headers["Retry-After"]
        first.close()
        async with asyncio.timeout(10):
            while (again := await session.get(f"{url}/api/v1/routes?limit=1")).status == 503:
                again.close()
        second.close()
        return refused, again.status

    assert ask(question) == ((503, "5"), 200)


def test_a_reader_that_takes_nothing_is_cut_and_holds_nobody(ask, rig, monkeypatch):
    monkeypatch.setattr("bgpbridge.api.streams.STALLED_S", 0.2)
    filler = "x" * 60_000

    async def question(session, url):
        host, port = url.removeprefix("http://").split(":")
        slow = socket.create_connection((host, int(port)))
        slow.sendall(b"GET /events?limit=4096 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(200):
            rig.bridge.events.add("test", "isp-a", filler)
        quick = await session.get(f"{url}/api/v1/status")
        slow.setblocking(False)
        loop, size = asyncio.get_running_loop(), 0
        await asyncio.sleep(1)  # longer than the bridge waits for this reader
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                while got := await loop.sock_recv(slow, 1 << 16):
                    size += len(got)
        slow.close()
        return quick.status, size

    status, size = ask(question)
    assert status == 200
    (cut,) = [event for event in rig.bridge.events.tail(10) if event.kind == "listener-cut"]
    assert cut.text.endswith("/events: has taken nothing for 0.2 s: cut off, nothing is kept for it")
    assert size < 200 * len(filler)


def test_connections_are_bounded(ask, monkeypatch):
    monkeypatch.setattr("bgpbridge.api.http.CONNECTIONS", 2)

    async def question(session, url):
        host, port = url.removeprefix("http://").split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        async with session.get(f"{url}/healthz") as answer:
            refused = answer.status
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while (await session.get(f"{url}/healthz")).status == 503:
                pass
        return refused

    assert ask(question) == 503


def test_a_connection_that_asks_nothing_is_closed(ask, monkeypatch):
    monkeypatch.setattr("bgpbridge.api.http.FIRST_REQUEST_S", 0.1)

    async def question(session, url):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: local")
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()
        return rest

    assert ask(question) == b""


# -- TLS and files -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate of our own making, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=edge", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    key.chmod(0o600)
    return Tls(certificate=certificate, key=key)


def test_tls_from_files(ask, pair, token_file):
    trust = ssl.create_default_context(cafile=str(pair.certificate))
    settings = {"tls": pair, "token_file": token_file, "address": "127.0.0.1"}
    more = {"settings": settings, "headers": bearer(TOKEN), "ssl": trust}
    assert answer_of(ask, "/api/v1/audit", "POST", **more)[0] == 200


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.chmod(0o644), "open to others"),
        (lambda key: key.unlink(), "No such file"),
        (lambda key: key.write_text("nonsense"), "cannot be used"),
    ],
)
def test_wrong_keys_are_refused_at_the_start(rig, pair, tmp_path, spoil, said):
    key = tmp_path / "key.pem"
    key.write_bytes(pair.key.read_bytes())
    key.chmod(0o600)
    spoil(key)
    tls = Tls(certificate=pair.certificate, key=key)
    with pytest.raises(UsageError, match=said) as told:
        rig.loop.run_until_complete(HttpServer(rig.bridge, Http(tls=tls), Reloading(rig.bridge)).start())
    assert told.value.mend
