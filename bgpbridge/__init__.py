"""bgpbridge: routes learned over BGP, forwarded by XDP and by the kernel alike."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: what reads it takes a megabyte, in each of our processes."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("bgpbridge")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
