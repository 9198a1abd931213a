"""bgpbridge: routes learned over BGP, forwarded by XDP and by the kernel alike."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bgpbridge")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
