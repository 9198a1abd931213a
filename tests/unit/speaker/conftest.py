"""ExaBGP's logger refuses to work before it is set up; its own main does it, and so does ours."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="package")
def exabgp_log() -> None:
    from exabgp.environment import getenv
    from exabgp.logger import log

    environment = getenv()
    environment.log.level = "CRITICAL"
    log.init(environment)
