"""The configuration file: what its keys mean (`model`, `peer`), how it is read and checked (`load`, `checks`),
and what changes between two versions of it (`diff`)."""

from __future__ import annotations

from bgpbridge.config.advice import advise, missing_passwords, unusable_http_files
from bgpbridge.config.diff import LIVE_DATAPATH, ConfigDiff, PeerChange, diff
from bgpbridge.config.load import load_changed, load_config, loads_config
from bgpbridge.config.model import Config
from bgpbridge.config.peer import Announcement, Password, Peer
from bgpbridge.config.schema import config_schema, policy_schema
from bgpbridge.config.secrets import passwords_of, read_password

__all__ = [
    "LIVE_DATAPATH",
    "Announcement",
    "Config",
    "ConfigDiff",
    "Password",
    "Peer",
    "PeerChange",
    "advise",
    "config_schema",
    "diff",
    "load_changed",
    "load_config",
    "loads_config",
    "missing_passwords",
    "passwords_of",
    "policy_schema",
    "read_password",
    "unusable_http_files",
]
