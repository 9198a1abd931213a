"""`record FILE`: what comes in, as MRT, until interrupted."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from bgpbridge.cli.commands import JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.text.words import Json, counted, facts, octets, warn
from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.feed.capture import Lost, read_frames
from bgpbridge.feed.recording import Recording

__all__ = ["MrtFiles", "record"]

MIB = 1 << 20


class MrtFiles:
    """The file that is written, and the next one when it is `limit` octets large or has `every_s` seconds of
    records; 0 means never. Files that take turns have the time of their first record in their names. Raises UsageError
    where one cannot be made, or exists."""

    def __init__(self, path: Path, limit: int = 0, every_s: float = 0) -> None:
        self.written: list[Path] = []
        self.records = self.octets = 0
        self._path, self._limit, self._every_s = path, limit, every_s
        self._stream: BinaryIO | None = None
        self._size, self._until_s = 0, 0.0
        if not self._rotates:
            self._stream = self._create(path)

    @property
    def _rotates(self) -> bool:
        return bool(self._limit or self._every_s)

    def write(self, time_s: float, record: bytes) -> None:
        """One whole record."""
        if self._stream is None or (self._rotates and self._full(time_s, len(record))):
            self.close()
            self._stream = self._create(self._named(time_s))
            self._size = 0
            self._until_s = (time_s // self._every_s + 1) * self._every_s if self._every_s else 0.0
        self._stream.write(record)
        self._size += len(record)
        self.octets += len(record)
        self.records += 1

    def _full(self, time_s: float, more: int) -> bool:
        large = self._limit and self._size + more > self._limit
        return bool(large or (self._every_s and time_s >= self._until_s))

    def flush(self) -> None:
        """To the file system: whoever is killed then leaves whole records."""
        if self._stream is not None:
            self._stream.flush()

    def close(self) -> None:
        """The current file is whole; one without records goes."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            if not self._size:
                self.written.pop().unlink(missing_ok=True)

    def _named(self, time_s: float) -> Path:
        stamp = datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        names = (
            f"{self._path.stem}-{stamp}{more}{self._path.suffix}" for more in ("", *(f".{n}" for n in range(1, 999)))
        )
        return next(path for path in map(self._path.with_name, names) if path not in self.written)

    def _create(self, path: Path) -> BinaryIO:
        try:
            stream = path.open("xb")
        except FileExistsError:
            raise UsageError(f"{path} is there already", mend="name another file: none is overwritten") from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", mend="name a file that you may write") from None
        self.written.append(path)
        return stream


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--peer", help="Only what the peer of this name sends.")
@click.option(
    "--size", type=click.FloatRange(min=0, min_open=True), metavar="MIB", help="Begin a new file at that size."
)
@click.option(
    "--every", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Begin a new file every S seconds (UTC)."
)
@JSON
@pass_asking
@click.pass_context
def record(
    context: click.Context,
    asking: Asking,
    file: Path,
    peer: str | None,
    size: float | None,
    every: float | None,
    as_json: bool,
) -> None:
    """Write what comes in as MRT to FILE, until interrupted.

    bgpdump and `replay` read it. UPDATEs, refreshes and changes of state of every session, or of one peer's, with
    microseconds (BGP4MP_ET). With --size or --every files take turns, named FILE-YYYYMMDDTHHMMSSZ.mrt. The bridge is
    not slowed: what this command cannot take in time is left out, counted and told, and the exit code is 1 then.
    """
    files = MrtFiles(file, int((size or 0) * MIB), every or 0)
    recording, lost = Recording(), 0
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # both ways to end it are right
    ended: BridgeError | None = None
    try:
        for frame in read_frames(asking.client.octets("/v1/record", {"peer": peer} if peer else {})):
            if isinstance(frame, Lost):
                lost += frame.records
                click.echo(warn(f"{counted(frame.records, 'record')} came too fast and are missing here"), err=True)
                continue
            for one in recording.records(frame):
                files.write(frame.time_s, one)
            files.flush()
    except KeyboardInterrupt:
        pass
    except BridgeError as error:
        ended = error
    finally:
        signal.signal(signal.SIGTERM, before)
        files.close()
    answer = {
        "files": [str(path) for path in files.written],
        "records": files.records,
        "octets": files.octets,
        "lost": lost,
        "left_out": recording.left_out,
    }
    say(answer, as_json, record_text)
    if ended is not None:
        raise ended
    context.exit(1 if lost or recording.left_out else 0)


def record_text(answer: Json) -> list[str]:
    """What was written."""
    missing = f"{counted(answer['lost'], 'record')} came too fast" if answer["lost"] else ""
    odd = f"{counted(answer['left_out'], 'message')} with path ids in one family of two" if answer["left_out"] else ""
    wrote = f"{counted(answer['records'], 'record')}, {octets(answer['octets'])}"
    return facts([("wrote", wrote), ("to", ", ".join(answer["files"])), ("missing", missing), ("left out", odd)])
