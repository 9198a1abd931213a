"""`bgpbridge clear`: take away everything of ours that outlives the daemon, without the daemon.

XDP comes off the interfaces first, so that packets are the kernel's before anything else goes; then the pins, then
routes and nexthop objects with our protocol number, then the files of the runtime folder (ExaBGP's among them, which
may hold passwords). A running daemon is never cleared under: its locks on the runtime folder, the pins and the
kernel's routes are taken first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.config import Config
from bgpbridge.daemon.runtime import RuntimeFolder, hold_pins, hold_protocol
from bgpbridge.datapath import pins
from bgpbridge.datapath.attach import attached, detach_all
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.fib.kernel import KernelFib, KernelOptions
from bgpbridge.fib.kernel_lookup import nexthops_of
from bgpbridge.types import Family

__all__ = ["Leftovers", "clear", "find"]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What there is of ours: interfaces with our XDP program, maps and links that are pinned, routes in the kernel
    by family, nexthop objects and groups, files in the runtime folder."""

    interfaces: tuple[str, ...]
    pins: int
    routes: dict[Family, int]
    nexthops: int
    files: tuple[Path, ...]

    @property
    def any(self) -> bool:
        """False when there is nothing to remove."""
        return bool(self.interfaces or self.pins or any(self.routes.values()) or self.nexthops or self.files)


def find(config: Config) -> Leftovers:
    """Look, and change nothing. Raises BridgeError without root."""
    _need_root()
    pin_path, kernel = config.datapath.pin_path, KernelFib(_options(config))
    return Leftovers(
        interfaces=tuple(sorted(seat.name for seat in attached(pin_path))),
        pins=sum(1 for path in pin_path.rglob("*") if path.is_file()),
        routes={family: len(kernel.table(family)[0]) for family in Family},
        nexthops=nexthops_of(config.kernel.protocol),
        files=tuple(_files(RuntimeFolder(config.runtime.directory))),
    )


def clear(config: Config) -> Leftovers:
    """Remove all of it; gives what there was. Raises UsageError while a daemon runs."""
    folder, found = RuntimeFolder(config.runtime.directory), find(config)
    with _held(folder, config):
        detach_all(config.datapath.pin_path)
        pins.remove(config.datapath.pin_path)
        _clear_kernel(config)
        for file in _files(folder):
            file.unlink(missing_ok=True)
        for directory in (folder.speaker_config.parent, folder.path):
            with suppress(OSError):  # somebody else's files keep it
                directory.rmdir()
    return found


def _need_root() -> None:
    if os.geteuid() != 0:
        raise BridgeError("bgpbridge clear needs root", mend="it removes XDP, pins and kernel routes: use sudo")


@contextmanager
def _held(folder: RuntimeFolder, config: Config) -> Iterator[None]:
    """The daemon's locks, so that none runs and none starts meanwhile."""
    pin_path = config.datapath.pin_path
    with ExitStack() as locks:
        try:
            locks.callback(os.close, folder.hold())
            if config.kernel.enabled:
                locks.callback(os.close, hold_protocol(config.kernel.protocol))
            if pin_path.is_dir():
                locks.callback(os.close, hold_pins(pin_path))
        except UsageError as error:
            raise UsageError(
                error.what, mend="stop it first (`systemctl stop bgpbridge`): it would put everything back"
            ) from None
        yield


def _options(config: Config) -> KernelOptions:
    kernel = config.kernel
    return KernelOptions(kernel.table, kernel.protocol, kernel.metric, kernel.metric_ipv6, kernel.nexthop_id_base)


def _clear_kernel(config: Config) -> None:
    kernel = KernelFib(_options(config))
    kernel.start()
    try:
        kernel.clear().result()
    finally:
        kernel.stop()


def _files(folder: RuntimeFolder) -> Iterator[Path]:
    named = (
        folder.control_socket,
        folder.state,
        folder.program,
        folder.speaker_config,
        folder.path / "feed.sock",
        folder.path / "lock",
    )
    yield from (path for path in named if path.exists())
