"""The speaker's process: `python -m bgpbridge.speaker.main`, started by `launch.SpeakerProcess`.

Loads ExaBGP, gives up root, reads the configuration and runs until SIGTERM. Descriptors come by number:
the lane memory, the bell that wakes the bridge, the bell that the bridge rings when a lane has room again,
and the speaker's end of the control pair. Exit status: 0 after SIGTERM, 1 when it could not start, with a
sentence on standard error.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from bgpbridge.errors import BridgeError, SpeakerError
from bgpbridge.feed.control import ControlReceiver
from bgpbridge.feed.frames import NoticeKind
from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.scheduling import ask_short_slice
from bgpbridge.speaker.outbox import Outbox
from bgpbridge.speaker.privileges import descriptors_are_private, drop
from bgpbridge.speaker.seams import changes, install

__all__ = ["main"]

_LEVELS: Final = {"debug": "INFO", "info": "WARNING", "warning": "ERROR", "error": "CRITICAL"}
_ENVIRONMENT: Final = {
    "api.cli": "false",  # no named pipes, no folders
    "api.ack": "false",
    "daemon.drop": "false",  # done here, and better
    "log.destination": "stderr",
    "log.statistics": "false",
    "reactor.speed": "10",  # an idle turn takes 100 ms; a descriptor ends it at once
    "tcp.bind": "",
    "tcp.attempts": "0",
}


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bgpbridge speaker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--layout", type=Layout.from_json, required=True)
    for name in ("--lanes", "--bell", "--space", "--control"):
        parser.add_argument(name, type=int, required=True, metavar="FD")
    parser.add_argument("--user", required=True)
    parser.add_argument("--log-level", choices=sorted(_LEVELS), default="info")
    return parser.parse_args(words)


def _set_environment(options: argparse.Namespace) -> None:
    """ExaBGP reads its settings from the environment when it is imported. Those of an operator's other
    ExaBGP on this machine are not for us."""
    for name in [name for name in os.environ if name.startswith(("exabgp.", "exabgp_", "EXABGP_"))]:
        del os.environ[name]
    os.environ["EXABGP_ENVFILE"] = os.devnull
    for name, value in {**_ENVIRONMENT, "daemon.user": options.user, "log.level": _LEVELS[options.log_level]}.items():
        os.environ[f"exabgp.{name}"] = value


def _run(options: argparse.Namespace) -> int:
    _set_environment(options)
    different = changes()
    if different:
        raise SpeakerError(
            "this ExaBGP does not fit: " + "; ".join(different), mend="install exabgp 5.0: pip install 'exabgp==5.0.*'"
        )
    from exabgp.environment import getenv  # noqa: PLC0415 - after its environment is set
    from exabgp.logger import log  # noqa: PLC0415

    from bgpbridge.speaker.configuration import TapConfiguration  # noqa: PLC0415
    from bgpbridge.speaker.reactor import TapReactor  # noqa: PLC0415

    install()
    drop(options.user)
    descriptors_are_private()
    ask_short_slice()
    log.init(getenv())
    outbox = Outbox(LaneMemory(options.lanes, options.layout), options.bell)
    control = ControlReceiver(socket.socket(fileno=options.control))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the supervisor, which sends SIGTERM
    outbox.notice(NoticeKind.STARTED, f"the speaker runs as process {os.getpid()}", always=True)
    return TapReactor(TapConfiguration(options.config), outbox, control, options.space).run()


def main(words: list[str] | None = None) -> int:
    """The exit status."""
    try:
        return _run(_arguments(words))
    except BridgeError as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - the supervisor's standard error
        return 1


if __name__ == "__main__":
    sys.exit(main())
