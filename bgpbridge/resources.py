"""Where the files that are not Python stand: BPF sources, speaker templates, example configurations.

In a checkout they are the top-level folders `bpf/`, `exabgp/` and `configs/`; a wheel carries the same
files as `bgpbridge/_bpf`, `_exabgp` and `_configs` (pyproject.toml maps them). Whoever needs one asks
here, so that an installed bgpbridge works without a checkout.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["bpf_sources", "example_configs", "speaker_templates"]

_PACKAGE = Path(__file__).resolve().parent


def bpf_sources() -> Path:
    """The folder of the BPF sources and the headers that BCC needs beside them."""
    return _folder("bpf")


def speaker_templates() -> Path:
    """The folder of the ExaBGP configuration templates."""
    return _folder("exabgp")


def example_configs() -> Path:
    """The folder of example configurations, route-policy files and systemd units."""
    return _folder("configs")


def _folder(name: str) -> Path:
    """The packaged folder when there is one (a wheel), else the checkout's."""
    packaged = _PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
