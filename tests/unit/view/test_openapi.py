"""The OpenAPI document is right, and a fuzzer that walks it finds no 500 and no answer that it does not describe."""

from __future__ import annotations

import socket
import threading

import hypothesis
import pytest
import schemathesis
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import CHECKS

from bgpbridge.api.http import HttpServer
from bgpbridge.api.probes import PROBES, openapi
from bgpbridge.api.reloading import Reloading
from bgpbridge.api.routes import ROUTES
from bgpbridge.config.http import Http

TOKEN = "0123456789abcdef0123456789abcdef"
ENDLESS = {"/events", "/api/v1/record"}
WITHIN_S = 5


def test_the_document_is_valid():
    OpenAPIV31SpecValidator(openapi()).validate()


def test_every_row_is_in_the_document():
    paths = openapi()["paths"]
    for route in ROUTES:
        assert route.method.lower() in paths[f"/api/v1{route.path}"]
    assert {route.path for route in PROBES} <= set(paths)


@pytest.fixture
def served(rig, tmp_path):
    """The address of a bridge whose loop runs in a thread."""
    rig.session("isp-a")
    rig.announce("isp-a", [f"100.64.{n}.0/24" for n in range(200)] + ["10.1.0.0/16"], [64601, 64500])
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = HttpServer(rig.bridge, Http(port=port, token_file=token), Reloading(rig.bridge))
    rig.loop.run_until_complete(server.start())
    thread = threading.Thread(target=rig.loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    rig.loop.call_soon_threadsafe(rig.loop.stop)
    thread.join(10)
    rig.loop.run_until_complete(server.stop())


def test_a_fuzzer_finds_nothing(served):
    schema = schemathesis.openapi.from_dict(openapi())
    checks = CHECKS.get_by_names(
        ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
    )
    walked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in ENDLESS:
            walked += 1
            unready = operation.path == "/readyz"  # its 503 is an answer
            _walk(operation, checks[1:] if unready else checks, served)
    assert walked == len(ROUTES) + len(PROBES) + 1 - len(ENDLESS)


def _walk(operation, checks, served):
    @hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=operation.as_strategy())
    def walk(case):
        if "follow" in case.query:  # what never ends is looked at in test_http.py
            case.query["follow"] = "0"
        case.call_and_validate(
            base_url=served, checks=checks, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=WITHIN_S
        )

    walk()
