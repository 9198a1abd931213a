"""JSON schemas of our files, for completion in editors.

    bgpbridge schema config > bgpbridge.schema.json

and in the first line of the file: `# yaml-language-server: $schema=bgpbridge.schema.json`.
"""

from __future__ import annotations

from typing import Any

from bgpbridge.config.model import Config
from bgpbridge.policy.schema import PolicyFile

__all__ = ["config_schema", "policy_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Of the configuration file. Keys of `peers[]` that `peer_defaults` may give are not required."""
    schema = Config.model_json_schema(by_alias=True)
    peer = schema["$defs"]["Peer"]
    peer["required"] = [key for key in peer["required"] if key in {"name", "address"}]
    return {"$schema": DIALECT, **schema, "title": "bgpbridge configuration"}


def policy_schema() -> dict[str, Any]:
    """Of a policy file."""
    return {"$schema": DIALECT, **PolicyFile.model_json_schema(by_alias=True), "title": "bgpbridge policy"}
