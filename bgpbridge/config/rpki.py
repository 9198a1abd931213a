"""`rpki`: where VRPs come from, files of a validator and RTR caches, and what counts as too few of them."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from bgpbridge.config.values import Address, FilePath, Name, Port
from bgpbridge.documents import Strict, refuse

__all__ = ["Rpki", "RpkiFile", "RpkiServer"]


class RpkiFile(Strict):
    """A JSON file that rpki-client or Routinator writes."""

    synonyms: ClassVar[dict[str, str]] = {"file": "path", "interval": "interval_s", "refresh_s": "interval_s"}

    name: Name = Field(examples=["validator"])
    """Its name in `bgpbridge rpki`, events and metrics."""
    path: FilePath = Field(examples=["/var/lib/rpki-client/json"])
    """The file; relative to this one."""
    interval_s: int = Field(default=60, ge=1, le=86_400)
    """Seconds between two looks whether the file is another."""


class RpkiServer(Strict):
    """An RTR cache (RFC 8210, RFC 6810), over TCP."""

    synonyms: ClassVar[dict[str, str]] = {
        "host": "address",
        "refresh": "refresh_s",
        "retry": "retry_s",
        "expire": "expire_s",
        "priority": "preference",
    }

    name: Name = Field(examples=["cache1"])
    """Its name in `bgpbridge rpki`, events and metrics."""
    address: Address = Field(examples=["192.0.2.10"])
    """Its IP address."""
    port: Port = 323
    """Its TCP port."""
    preference: int = Field(default=1, ge=0, le=255)
    """Of the servers that have data, only those with the lowest preference count; all are kept in step."""
    refresh_s: int | None = Field(default=None, ge=1, le=86_400)
    """Seconds between two questions; null: as the server says."""
    retry_s: int | None = Field(default=None, ge=1, le=7200)
    """The longest pause in seconds before a new try; null: as the server says."""
    expire_s: int | None = Field(default=None, ge=600, le=172_800)
    """Seconds after which what a silent server told is dropped; null: as the server says."""


class Rpki(Strict):
    """Route origin validation (RFC 6811)."""

    synonyms: ClassVar[dict[str, str]] = {"caches": "servers", "rtr": "servers", "validators": "servers"}

    files: tuple[RpkiFile, ...] = ()
    """Files of VRPs."""
    servers: tuple[RpkiServer, ...] = ()
    """RTR caches."""
    max_shrink_percent: int = Field(default=50, ge=0, le=100)
    """Per cent of a source's VRPs that may vanish at once; beyond it, the old ones stay, with an alarm. 100: all."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [*(file.name for file in self.files), *(server.name for server in self.servers)]
        for name in names:
            if names.count(name) > 1:
                raise refuse(f"two sources are called `{name}`", "a name of its own for each", "rename one")
        return self
