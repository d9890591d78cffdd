"""The series of one person, by run, each with what lies beside it: motion, masks, sidecars, confounds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.names import RUN_ENTITIES, BidsName, RunKey, sidecar_of
from dtb.cohort.bids.selection import Selection
from dtb.cohort.bids.tree import Tree, parse_name
from dtb.cohort.layouts.table import is_series
from dtb.config import IngestConfig
from dtb.errors import AmbiguousFilesError


def series_by_run(
    label: str,
    bids: Path,
    runs: dict[RunKey, tuple[Path, BidsName]],
    derived: list[Tree],
    config: IngestConfig,
    selection: Selection,
    sidecars: dict[Path, list[tuple[Path, BidsName]]],
) -> dict[RunKey, SeriesFile]:
    """Return a person's series by run; what lies beside one is taken from its own tree, and from another where its own has none."""
    tables = [_beside(tree.files.get(label, [])) for tree in derived]
    images = _image_sidecars(derived, label)
    found: dict[RunKey, SeriesFile] = {}
    for own, tree in zip(tables, derived, strict=True):
        for path, name in tree.files.get(label, []):
            if "task" not in name.entities or not is_series(name, config) or not selection.wants(name):
                continue
            key = name.run_key
            if key in found and name.entities.get("echo") != found[key].name.entities.get("echo"):
                raise AmbiguousFilesError(
                    f"several echoes of one run, {found[key].path.name} and {path.name}: combine them first (fMRIPrep does, or tedana), or "
                    'choose one with ingest.bids_filter_file: {"bold": {"echo": 2}}; null for what has no echo in its name.'
                )
            if key in found:
                raise AmbiguousFilesError(
                    f"sub-{label} has several series of one run: {found[key].path} and {path}. Choose with ingest.parcellation, "
                    "ingest.space or ingest.bids_filter_file, or give one derivative tree."
                )
            near = (own, *tables)
            found[key] = SeriesFile(
                path,
                name,
                motion=_first(near, ("motion", key)),
                outliers=_first(near, ("outliers", key)),
                mask=_first(near, ("mask", key, name.entities.get("space"), name.entities.get("res"))),
                raw_sidecars=_raw_sidecars(bids, name, runs.get(key), sidecars),
                image_sidecars=tuple(other for other in images.get(key, ()) if other != sidecar_of(path)),
                quality=_first(near, ("qc", key)),
                confounds=_first(near, ("confounds", key)),
            )
    return found


def _image_sidecars(derived: list[Tree], label: str) -> dict[RunKey, list[Path]]:
    """Return where the sidecars of a person's preprocessed images would lie, by run; of all spaces, for time is the same in each."""
    found: dict[RunKey, list[Path]] = {}
    for tree in derived:
        for path, name in tree.files.get(label, []):
            if name.suffix == "bold" and "task" in name.entities and name.extension.endswith((".nii", ".nii.gz")):
                found.setdefault(name.run_key, []).append(sidecar_of(path))
    return found


def _first(tables: Iterable[dict[object, Path]], what: object) -> Path | None:
    return next((table[what] for table in tables if what in table), None)


def _beside(files: list[tuple[Path, BidsName]]) -> dict[object, Path]:
    """Return the files that belong to series, by kind and by run (and grid)."""
    found: dict[object, Path] = {}
    for path, name in files:
        if name.suffix == "mask" and name.entities.get("desc") == "brain" and name.extension.startswith(".nii"):
            found["mask", name.run_key, name.entities.get("space"), name.entities.get("res")] = path
        elif (name.suffix in {"motion", "outliers"} and name.extension == ".tsv") or (
            name.suffix == "qc" and name.extension in {".tsv", ".csv"}
        ):
            found[name.suffix, name.run_key] = path
        elif name.suffix == "timeseries" and name.entities.get("desc") == "confounds" and name.extension == ".tsv":
            found["confounds", name.run_key] = path
    return found


def _raw_sidecars(
    bids: Path, name: BidsName, raw: tuple[Path, BidsName] | None, known: dict[Path, list[tuple[Path, BidsName]]]
) -> tuple[Path, ...]:
    """Return the raw tree's sidecars of a run, by BIDS's inheritance principle: the nearest folder first, in it what names most of the run.

    A run's raw files may write its name in another way. Folders that were listed are added to `known`.
    """
    own = name if raw is None else raw[1]
    wanted = {("sub", own.entities["sub"]), ("echo", own.entities.get("echo")), ("part", "mag"), *own.run_key}
    person = bids / f"sub-{own.entities['sub']}"
    session = person / f"ses-{own.entities['ses']}" if "ses" in own.entities else person
    found = []
    for folder in dict.fromkeys((session / "func", session, person, bids)):
        if folder not in known:
            parsed = [(path, parse_name(path.name)) for path in folder.glob("*bold.json")]
            known[folder] = [(path, each) for path, each in parsed if each is not None and each.suffix == "bold"]
        here = {path: each for path, each in known[folder] if _says_no_more(each, wanted)}
        found += sorted(here, key=lambda path: (-len(here[path].entities), path.name))
    return tuple(path for path in found if path.is_file())


def _says_no_more(name: BidsName, wanted: set[tuple[str, str | None]]) -> bool:
    rest = {(key, value) for key, value in name.entities.items() if key not in RUN_ENTITIES}
    return rest | set(name.run_key) <= wanted
