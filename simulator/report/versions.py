"""Versions of what produced a result."""

from __future__ import annotations

import platform


def package_version(distribution: str) -> str | None:
    """The version of an installed distribution, None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def chipsim_version() -> str:
    """The version that the package states about itself, else that of the distribution."""
    import simulator

    own = getattr(simulator, "__version__", None)
    return str(own) if own else package_version("chipsim") or "0+source"


def versions() -> dict[str, str | None]:
    """Versions of chipsim, of the interpreter and of the libraries that compute."""
    return {
        "chipsim": chipsim_version(),
        "python": platform.python_version(),
        "numpy": package_version("numpy"),
        "numba": package_version("numba"),
        "simpy": package_version("simpy"),
    }
