"""Reading passwords from where the configuration says they are kept. Nothing here prints one."""

from __future__ import annotations

import os

from bgpbridge.config.model import Config
from bgpbridge.config.peer import Peer
from bgpbridge.errors import DocumentError

__all__ = ["passwords_of", "read_password"]


def passwords_of(config: Config) -> dict[str, str]:
    """The MD5 password of every peer that has one. Raises DocumentError at the peer whose password is not there."""
    found = {peer.name: read_password(peer) for peer in config.peers}
    return {name: password for name, password in found.items() if password is not None}


def read_password(peer: Peer) -> str | None:
    """The peer's MD5 password, None when it has none. Raises DocumentError, at the peer's place, when the
    file or variable that should hold it does not."""
    password = peer.password
    if password is None:
        return None
    if password.env is not None:
        value, source = os.environ.get(password.env, ""), f"the environment variable {password.env}"
        mend = f"set {password.env} for the process that runs bgpbridge"
    else:
        assert password.file is not None
        source, mend = f"the file {password.file}", "write the password into its first line"
        try:
            value = password.file.read_text("utf-8").split("\n", 1)[0].strip("\r")
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise _refusal(peer, f"{source} cannot be read: {reason}", "check path and permissions") from None
        except UnicodeDecodeError:
            raise _refusal(peer, f"{source} does not hold text", mend) from None
    if not value:
        raise _refusal(peer, f"{source} holds no password", mend)
    if len(value.encode()) > 80 or not value.isprintable():
        raise _refusal(peer, f"{source} holds more than 80 octets or unprintable characters", "TCP MD5 takes 80")
    return value


def _refusal(peer: Peer, problem: str, mend: str) -> DocumentError:
    return DocumentError(peer.place, f"password of peer {peer.name}: {problem}", mend=mend)
