"""HDF5 files may point to bytes of other files: external storage, external links and virtual data sets are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtb.errors import InputDataError


def require_own_data(stream: Any, path: Path) -> None:
    """Refuse a file with a name, within any of its groups, that refers to data elsewhere, before those data are opened.

    Raises
    ------
    InputDataError
        It says which name, and what to do.
    """
    import h5py

    def look(name: str, link: object) -> str | None:
        item = stream.get(name) if isinstance(link, h5py.HardLink) else None
        is_elsewhere = isinstance(item, h5py.Dataset) and (item.is_virtual or bool(item.external))
        return name if is_elsewhere or not isinstance(link, h5py.HardLink) else None

    if (found := stream.visititems_links(look)) is not None:
        raise InputDataError(
            f"{path.name}: {found!r} is a link, or its data lie in another file, which is not read. Copy the data into the file itself."
        )
