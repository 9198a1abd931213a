"""Files as octets and as text: what is absent, unreadable, huge or no text is an error with its place and its mend."""

from __future__ import annotations

from pathlib import Path

from bgpbridge.errors import DocumentError, Place

__all__ = ["read_octets", "read_text"]

MAX_OCTETS = 64 << 20


def read_octets(path: Path, most: int, *, absent: str, expected: str, mend: str = "") -> bytes:
    """The whole file, of at most so many octets. `absent` is the mend for a file that is not there, `expected` and
    `mend` are said of one that is too large. Raises DocumentError."""
    place = Place(str(path))
    try:
        with path.open("rb") as stream:
            octets = stream.read(most + 1)
    except FileNotFoundError:
        raise DocumentError(place, "there is no such file", mend=absent) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DocumentError(place, f"cannot be read: {reason}", mend="check its permissions") from None
    if len(octets) > most:
        raise DocumentError(place, f"is larger than {most >> 20} MiB", expected=expected, mend=mend)
    return octets


def read_text(path: Path) -> str:
    """The file's text. Raises DocumentError for a file that is absent, unreadable, huge or not UTF-8."""
    absent = "check the path; it is taken as written"
    octets = read_octets(path, MAX_OCTETS, absent=absent, expected="a file written by hand")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            Place(str(path), line),
            f"is not UTF-8 text (octet 0x{octets[error.start]:02x})",
            expected="a text file in UTF-8",
            mend="is this the right file? If so, save it as UTF-8",
        ) from None
