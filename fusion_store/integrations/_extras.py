"""What to install where a library is missing."""


def missing(library: str, extra: str) -> ImportError:
    """The error for a library that isn't installed."""
    return ImportError(f"{library} isn't installed: pip install 'fusion-store[{extra}]'", name=library)
