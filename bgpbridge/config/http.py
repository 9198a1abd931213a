"""The `http` section: where the bridge listens for people, Prometheus and scripts, and who may change things there."""

from __future__ import annotations

import ssl
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from bgpbridge.config.values import FilePath, ListenAddress, Port
from bgpbridge.documents import Strict, refuse
from bgpbridge.errors import UsageError

__all__ = ["Http", "Tls", "read_token", "tls_context"]

SHORTEST_TOKEN = 16  # characters: 64 bits where they are hexadecimal
LONGEST_TOKEN = 256
NOT_OURS = stat.S_IRWXO | stat.S_IWGRP  # others may do nothing, the group may not write
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$")]


class Tls(Strict):
    """TLS from files, in PEM. A reload reads them again."""

    synonyms: ClassVar[dict[str, str]] = {"cert": "certificate", "cert_file": "certificate", "key_file": "key"}

    certificate: FilePath
    """Our certificate, and those between it and the root."""
    key: FilePath
    """Its private key, not encrypted, that others may not read."""


class Http(Strict):
    """HTTP: metrics, health, the API and the page."""

    synonyms: ClassVar[dict[str, str]] = {"listen": "address", "host": "address", "token": "token_file"}

    address: ListenAddress = "127.0.0.1"
    """The address to listen on; whoever reaches it may read everything."""
    port: Port = 9479
    """The TCP port."""
    names: tuple[HostName, ...] = ()
    """Names besides `localhost` that a loopback address is asked by, such as that of a proxy in front."""
    token_file: FilePath | None = None
    """A file whose first line is the token that writing takes; without one nothing can be changed over HTTP."""
    tls: Tls | None = None
    """TLS; null for none."""

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> Http:
        if self.token_file is not None and self.tls is None and not self.loopback:
            problem = f"the token would cross the network to {self.address} unencrypted"
            raise refuse(problem, "`tls` beside `token_file`", "add `tls`, listen on 127.0.0.1, or drop `token_file`")
        return self

    @property
    def loopback(self) -> bool:
        """True when only this machine can reach it."""
        return ip_address(self.address).is_loopback


def read_token(path: Path) -> bytes:
    """The token. Raises UsageError when the file is not there, not ours alone, or holds none."""
    mend = f"openssl rand -hex 32 >{path}; chmod 600 {path}"
    _private(path, "http.token_file", mend)
    try:
        token = path.read_bytes()[: LONGEST_TOKEN + 2].split(b"\n", 1)[0].strip()
    except OSError as error:
        raise UsageError(f"http.token_file {path}: {error.strerror}", mend=mend) from None
    printable = all(33 <= octet <= 126 for octet in token)
    if not (SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN and printable):
        what = f"http.token_file {path} holds no token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} printable characters"
        raise UsageError(what, mend=mend)
    return token


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What TLS needs, TLS 1.2 at least. Raises UsageError when a file is missing, wrong, or not ours alone."""
    _private(tls.key, "http.tls.key", f"chmod 600 {tls.key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Read the files, for sessions from now on. Raises UsageError with the old ones in force."""
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except OSError as error:  # ssl.SSLError is one
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror
        what = f"http.tls: {tls.certificate} and {tls.key} cannot be used: {str(why).replace('_', ' ').lower()}"
        raise UsageError(what, mend="both in PEM, the key that of the certificate and without a passphrase") from None


def _private(path: Path, key: str, mend: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{key} {path}: {error.strerror}", mend=mend) from None
    if mode & NOT_OURS:
        raise UsageError(f"{key} {path} is open to others (mode {stat.S_IMODE(mode):04o})", mend=f"chmod 600 {path}")
