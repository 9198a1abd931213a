"""Where the files that are not Python stand: BPF sources, speaker templates, example configurations.

In a checkout `_bpf`, `_exabgp` and `_configs` are links to the top-level folders `bpf/`, `exabgp/` and `configs/`;
a wheel carries the files themselves under the same names, so that an installed bgpbridge needs no checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["bpf_sources", "example_configs", "search_path", "speaker_templates"]

_PACKAGE = Path(__file__).resolve().parent


def bpf_sources() -> Path:
    """The folder of the BPF sources and the headers that BCC needs beside them."""
    return (_PACKAGE / "_bpf").resolve()


def speaker_templates() -> Path:
    """The folder of the ExaBGP configuration templates."""
    return (_PACKAGE / "_exabgp").resolve()


def search_path() -> str:
    """PYTHONPATH for a child that starts elsewhere: this package where it was found, then what we were given."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH"))))


def example_configs() -> Path:
    """The folder of example configurations, route-policy files and systemd units."""
    return (_PACKAGE / "_configs").resolve()
