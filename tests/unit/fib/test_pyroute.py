"""pyroute2's socket alone: quick to load, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys

ALONE = """
import sys
from bgpbridge.fib import pyroute
assert not [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]
from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_CREATE, rtnl
assert (NLM_F_CREATE, rtnl.RTM_NEWROUTE) == (pyroute.NLM_F_CREATE, pyroute.RTM_NEWROUTE)
with IPRoute() as netlink:
    assert netlink.get_links()
with pyroute.NetlinkSocket() as socket:
    socket.bind()
"""

LATER = """
import pyroute2
from bgpbridge.fib import pyroute
from pyroute2.netlink.nlsocket import NetlinkSocket
assert pyroute.NetlinkSocket is NetlinkSocket
"""


def _runs(text: str) -> None:
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


def test_the_whole_package_can_be_imported_afterwards() -> None:
    _runs(ALONE)


def test_where_it_is_there_already_it_is_taken_as_it_is() -> None:
    _runs(LATER)
