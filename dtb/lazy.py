"""A package whose public names are read when they are first asked for, so that importing it costs nothing (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["public_names"]


def public_names(package: str, files: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`.

    Parameters
    ----------
    package : str
        Its name in full.
    files : mapping of str to str
        For each public name, the module that has it, in full or, with a dot before it, from the package on.

    Returns
    -------
    callable
        Reads a public name from its module and leaves it in the package.
    callable
        Lists what is there, public names included.

    Examples
    --------
    >>> get, _ = public_names("dtb.shards", {"open_cohort": ".read"})
    >>> get("open_cohort").__module__
    'dtb.shards.read'
    >>> get("open_door")
    Traceback (most recent call last):
    AttributeError: module 'dtb.shards' has no attribute 'open_door'
    """

    def get(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(files[name], package), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *files})

    return get, names
