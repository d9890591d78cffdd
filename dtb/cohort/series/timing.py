"""Acquisition times of a run's volumes, from its sidecars: their spacing, those removed from the beginning, and the first one's time.

Events count from the beginning of the run's first volume. A volume stands for that time only if nobody moved it: slice timing correction
brings all slices to one time within the volume (fMRIPrep: the middle, half a repetition time later), and XCP-D and HALFpipe take volumes
from the beginning. Volumes that were never stored in the raw image (`NumberOfVolumesDiscardedByUser`) do not count: BIDS has onsets count
from the first one stored.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from dtb.cohort.bids.files import SeriesFile
from dtb.cohort.bids.names import RUN_ENTITIES, sidecar_of
from dtb.cohort.bids.tree import parse_name
from dtb.cohort.layouts.table import LAYOUTS
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.tasks.tables import number_or_none, why_no_file

_SHORTEST, _LONGEST = 0.1, 20.0  # repetition times in seconds
_SAME_TIME = 0.01  # relative: what headers in single precision and rounded sidecars differ by
_MOST_DROPPED = 100_000
"""Volumes, or seconds, that can have been removed from the beginning of a run."""
_LATEST_START = 60.0  # of a first volume; milliseconds written as seconds are beyond it
_WORDS = {"start": 0.0, "first": 0.0, "middle": 0.5, "end": 1.0, "last": 1.0}
_REFERENCES = ("SliceTimingReference", "SliceTimingRef")
_UNSTEADY = "NumberOfVolumesDiscardedByNonsteadyStatesDetector"
_DROPPED_COLUMNS = ("num_dummy_volumes", "nVolsRemoved")

HEADER_DIFFERS = (
    "the header of the image has another repetition time than the sidecar, whose value is used (fMRIPrep 23.2.0 writes 1 s; others write "
    "milliseconds under the unit of seconds)"
)
OPTION_DECIDES = "ingest.repetition_time is used, although files say another repetition time"
MIDDLE_ASSUMED = (
    "the sidecar says that slice timing was corrected, but not to which time: the middle is assumed, as fMRIPrep does"
)
START_UNKNOWN = (
    "nothing says whether slice timing was corrected, and to which time (SliceTimingCorrected, StartTime in a sidecar); each volume is "
    "taken to be measured at its beginning, which is wrong by half a repetition time if it was. If fMRIPrep corrected it, name its tree in "
    "--derivatives too"
)
DROPPED_UNKNOWN = (
    "nothing says how many volumes were removed from the beginning (DummyScans or ScanStart in a sidecar, num_dummy_volumes in XCP-D's "
    "*_qc.tsv); none is assumed. If there were any, all onsets come as much too late in the BOLD: whoever made the series knows, and "
    "ingest.dropped_volumes says it"
)
DROPPED_DIFFERS = (
    "ingest.dropped_volumes is used, although files say another number of volumes removed from the beginning"
)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Acquisition times of a run's volumes.

    Attributes
    ----------
    repetition_time : float
        Seconds from one volume to the next.
    dropped_volumes : int
        Volumes of the run before the first of the series.
    start_seconds : float
        How long after its beginning a volume stands.
    notices : tuple of str
        How the repetition time was decided where files disagree.
    task_notices : tuple of str
        Other times that are unknown or had to be decided; they matter only for a run with events.
    """

    repetition_time: float
    dropped_volumes: int
    start_seconds: float
    notices: tuple[str, ...]
    task_notices: tuple[str, ...]


def read_timing(file: SeriesFile, header_time: float | None, config: IngestConfig) -> Timing:
    """Read the acquisition times of a series' volumes.

    Parameters
    ----------
    file : SeriesFile
    header_time : float or None
        Repetition time of the image's header in seconds.
    config : IngestConfig
        `repetition_time` and `dropped_volumes` decide where they are given.

    Raises
    ------
    InputDataError
        Nothing says the repetition time, sidecars contradict each other, or what one says can't be.
    """
    own = read_sidecar(file.path)
    raw = [(path.name, _json_at(path)) for path in file.raw_sidecars]
    seconds, first_seconds, notices = _repetition_time(file, own, raw, header_time, config)
    task_notices: list[str] = []
    dropped, rest_seconds = _dropped(file, own, seconds, config, task_notices)
    start_seconds = _start(file, own, raw, seconds, task_notices)
    return Timing(seconds, dropped, first_seconds + rest_seconds + start_seconds, tuple(notices), tuple(task_notices))


def _repetition_time(
    file: SeriesFile,
    own: dict[str, object],
    raw: list[tuple[str, dict[str, object]]],
    header_time: float | None,
    config: IngestConfig,
) -> tuple[float, float, list[str]]:
    """Return the repetition time, the time of the first volume where the sidecars list the times of all, and what had to be decided."""
    sidecar = find_sidecar(file.path)
    sources = {
        sidecar.name: _spacing(own, file) or _sampling(own),
        **{f"the raw tree's {name}": _spacing(one, file) for name, one in raw},
    }
    # Each raw sidecar fills what the one before it lacks.
    raw_names = [name for name in sources if name != sidecar.name and sources[name] is not None]
    said = {name: pair for name, pair in sources.items() if pair is not None and name in {sidecar.name, *raw_names[:1]}}
    if config.repetition_time is not None:
        chosen = _checked(config.repetition_time, "ingest.repetition_time", file)
        others = [*(spacing for spacing, _ in said.values()), *([] if header_time is None else [header_time])]
        differs = any(not _is_number(other) or not _same(other, chosen) for other in others)
        return chosen, _first(said), [OPTION_DECIDES] if differs else []
    found = {name: _checked(spacing, name, file) for name, (spacing, _) in said.items()}
    if not found and header_time is not None:
        return _checked(header_time, "the header", file), 0.0, []
    if not found:
        there = [
            name
            for name, exists in (
                (sidecar.name, sidecar.is_file()),
                *((f"the raw tree's {name}", True) for name, _ in raw),
            )
            if exists
        ]
        if there:
            reason = f"{' and '.join(there)} {'lacks' if len(there) == 1 else 'lack'} it"
        else:
            reason = f"there is no sidecar {sidecar.name}, and no *_bold.json of the run in the raw tree, its own or one that it inherits"
        raise InputDataError(
            f"Nothing says the RepetitionTime of {file.path.name}: {reason}. Set ingest.repetition_time."
        )
    name, seconds = next(iter(found.items()))
    for other_name, other in found.items():
        if not _same(other, seconds):
            raise InputDataError(
                f"{file.path.name}: the RepetitionTime is {seconds:g} s in {name}, but {other:g} s in {other_name}. Correct what is wrong, "
                "or set ingest.repetition_time."
            )
    differs = header_time is not None and not _same(header_time, seconds)
    return seconds, _first(said), [HEADER_DIFFERS] if differs else []


def _spacing(sidecar: dict[str, object], file: SeriesFile) -> tuple[object, float] | None:
    """Return what a sidecar says of the time between volumes, and that of the first volume; None if it says nothing."""
    if (seconds := sidecar.get("RepetitionTime")) is not None:
        return seconds, 0.0
    times = sidecar.get("VolumeTiming")
    if not isinstance(times, list) or len(times) < 2 or not all(_is_number(time) for time in times):
        return None
    steps = [after - before for before, after in itertools.pairwise(times)]
    if max(steps) - min(steps) > _SAME_TIME * max(steps):
        raise InputDataError(
            f"{file.path.name}: its volumes are not evenly spaced (VolumeTiming: from {min(steps):g} to {max(steps):g} s apart), which "
            "cannot be read."
        )
    return (times[-1] - times[0]) / (len(times) - 1), float(times[0])


def _sampling(sidecar: dict[str, object]) -> tuple[object, float] | None:
    """Return the time between volumes where a series' sidecar says how many there are a second, as BEP017's do."""
    frequency = sidecar.get("SamplingFrequency")
    return (1 / frequency, 0.0) if _is_number(frequency) and frequency > 0 else None


def _first(said: dict[str, tuple[object, float]]) -> float:
    return next((first for _, first in said.values() if first), 0.0)


def _checked(value: object, source: str, file: SeriesFile) -> float:
    if not _is_number(value) or not _SHORTEST <= value <= _LONGEST:
        raise InputDataError(
            f"{file.path.name}: RepetitionTime is {value!r} in {source}; expected {_SHORTEST:g} to {_LONGEST:g} seconds. Correct it, or "
            "set ingest.repetition_time."
        )
    return float(value)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_TIME * other


def _dropped(
    file: SeriesFile, own: dict[str, object], seconds: float, config: IngestConfig, notices: list[str]
) -> tuple[int, float]:
    """Return how many volumes were removed from the beginning, and what of `ScanStart` they do not account for."""
    said, contradicted = _dropped_seconds(file, own, seconds)
    if config.dropped_volumes is not None:
        if said is not None and not math.isclose(said, config.dropped_volumes * seconds, abs_tol=_SAME_TIME * seconds):
            notices.append(DROPPED_DIFFERS)
        return config.dropped_volumes, 0.0
    if contradicted:
        raise InputDataError(
            f"{find_sidecar(file.path).name}: {contradicted}. Correct what is wrong, or set ingest.dropped_volumes."
        )
    if said is None:
        if LAYOUTS[config.layout].drops_volumes:
            notices.append(DROPPED_UNKNOWN)
        return 0, 0.0
    number = round(said / seconds)
    left = said - number * seconds
    return number, left if abs(left) > _SAME_TIME * seconds else 0.0


def _dropped_seconds(file: SeriesFile, own: dict[str, object], seconds: float) -> tuple[float | None, str]:
    """Return how long after the run's beginning the series begins, None if nothing says it, and what is wrong with what says it.

    It stands in HALFpipe's sidecars, in giga_connectome's, and in the table of quality that XCP-D writes for each run.
    """
    scans, start = own.get("DummyScans", own.get(_UNSTEADY)), own.get("ScanStart")
    for key, value in (("DummyScans", scans), ("ScanStart", start)):
        if value is not None and (not _is_number(value) or not 0 <= value <= _MOST_DROPPED):
            return None, f"{key} is {value!r}; expected a number from 0 to {_MOST_DROPPED:,}"
    if _is_number(scans) and _is_number(start) and abs(scans * seconds - start) > _SAME_TIME * seconds:
        return None, f"DummyScans is {scans:g}, which takes {scans * seconds:g} s, but ScanStart is {start:g} s"
    if _is_number(start):
        return float(start), ""
    if _is_number(scans):
        return scans * seconds, ""
    number = None if file.quality is None else _dropped_by_xcpd(file.quality)
    return (None if number is None else number * seconds), ""


def _dropped_by_xcpd(path: Path) -> float | None:
    """Read the number of volumes that XCP-D took from the beginning of a run, from its `*_qc.tsv` or, of old, `*_qc.csv`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    rows = list(csv.DictReader(text.splitlines(), delimiter="," if path.suffix == ".csv" else "\t"))
    cells = [rows[0].get(column) for column in _DROPPED_COLUMNS] if len(rows) == 1 else []
    numbers = [number for cell in cells if cell is not None and (number := number_or_none(cell)) is not None]
    return next((number for number in numbers if 0 <= number <= _MOST_DROPPED), None)


def _start(
    file: SeriesFile,
    own: dict[str, object],
    raw: list[tuple[str, dict[str, object]]],
    seconds: float,
    notices: list[str],
) -> float:
    """Return the time of a volume after its beginning, from the first sidecar on slice timing."""
    is_corrected = False
    for name, sidecar in _preprocessed(file, own):
        start = sidecar.get("StartTime")
        if start is not None:
            if not _is_number(start) or abs(start) > _LATEST_START:
                raise InputDataError(
                    f"{name}: StartTime is {start!r}; expected seconds, at most {_LATEST_START:g} from the beginning of the run (not "
                    "milliseconds)."
                )
            return float(start)
        reference = next((sidecar[key] for key in _REFERENCES if sidecar.get(key) is not None), None)
        if reference is not None:
            share = _WORDS.get(reference.lower()) if isinstance(reference, str) else reference
            if not _is_number(share) or not 0 <= share <= 1:
                raise InputDataError(
                    f"{name}: the reference of slice timing is {reference!r}; expected a share of the repetition time, from 0 to 1."
                )
            return float(share) * seconds
        if sidecar.get("SliceTimingCorrected") is False and not is_corrected:
            return 0.0
        is_corrected |= sidecar.get("SliceTimingCorrected") is True
    if is_corrected:
        notices.append(MIDDLE_ASSUMED)
        return _middle(raw, seconds)
    notices.append(START_UNKNOWN)
    return 0.0


def _preprocessed(file: SeriesFile, own: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the sidecars of the series and of the images that it was made of."""
    yield find_sidecar(file.path).name, own
    for path in file.image_sidecars:
        if path.is_file():
            yield path.name, _json_at(path)


def _middle(raw: list[tuple[str, dict[str, object]]], seconds: float) -> float:
    """Return the middle of the times at which slices were acquired."""
    for _, sidecar in raw:
        times = sidecar.get("SliceTiming")
        if isinstance(times, list) and len(times) > 1 and all(_is_number(time) for time in times):
            return float(min(times) + max(times)) / 2
    return seconds / 2


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_sidecar(path: Path) -> dict[str, object]:
    """Read a file's sidecar, if it has one."""
    sidecar = find_sidecar(path)
    return _json_at(sidecar) if sidecar.exists() or sidecar.is_symlink() else {}


def find_sidecar(path: Path) -> Path:
    """Return the sidecar of a file: its own or, where it has none, the one in its folder that names most of it and nothing else.

    giga_connectome writes one for the series of all atlases, by BIDS's inheritance principle. What says of the run alone is a raw image's.
    """
    own = sidecar_of(path)
    name = None if own.exists() or own.is_symlink() else parse_name(path.name)
    if name is None:
        return own
    others = {other: parse_name(other.name) for other in path.parent.glob(f"*_{name.suffix}.json")}
    fitting = {
        other: len(each.entities)
        for other, each in others.items()
        if each is not None
        and each.suffix == name.suffix
        and each.entities.items() <= name.entities.items()
        and not set(each.entities) <= {"sub", "echo", "part", *RUN_ENTITIES}
    }
    return max(sorted(fitting), key=fitting.__getitem__, default=own)


def _json_at(path: Path) -> dict[str, object]:
    try:
        # Some tools write a bare NaN, which Python's reader takes.
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputDataError(f"{path.name} is {why_no_file(path)}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputDataError(f"{path.name} is not readable JSON ({error}).") from None
    return values if isinstance(values, dict) else {}
