"""`dtb task from-hcp`: converts the Human Connectome Project's files to BIDS events for the shipped tasks `nback` and `emotion`.

HCP's releases have no `events.tsv`. A task run `tfMRI_WM_LR` has a folder `EVs` with one three-column text file (onset, duration, height)
for each condition, and E-Prime's table `WM_run1_TAB.txt`; both lie in `SUBJECT/unprocessed/3T/RUN/LINKED_DATA/EPRIME` and, in the
preprocessed packages, in `SUBJECT/MNINonLinear/Results/RUN`. EVs say when blocks and trials were and which were answered rightly; only
the table says which button was pressed and when. So trials come from the table, checked against the EVs. A run with EVs alone becomes
events as well, but without presses: its trials are marked as unusable when they are read, and can be simulated all the same.

Layout: WU-Minn HCP 1200 Subjects Release Reference Manual, appendix III; design: Barch et al. (2013), 10.1016/j.neuroimage.2013.05.033.
The output's names are those that XCP-D gives to HCP's runs (`task-wm_dir-LR_run-1`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dtb import terminal
from dtb.errors import InputDataError, OutputInUseError, UserError
from dtb.files import write_json, write_text
from dtb.tasks.tables import Table, number_or_none, read_tsv

_PLACES = ("MNINonLinear/Results/{run}", "unprocessed/3T/{run}/LINKED_DATA/EPRIME")
_REPETITION_TIME = 0.72
_TOLERANCE = 0.1  # seconds between an EV and the table; E-Prime's clock and the EVs agree to milliseconds
_UNKNOWN = "unknown"
_COLUMNS = ("onset", "duration", "trial_type", "stim_type", "correct_response", "response", "response_time")

Row = dict[str, str]


@dataclasses.dataclass(frozen=True)
class HcpRun:
    """One task run's files: E-Prime's table and the folder with the EVs, of which one may be absent."""

    subject: str
    task: str
    direction: str
    table: Path | None
    evs: Path | None


@dataclasses.dataclass(frozen=True)
class _HcpTask:
    """A task's name, and how its files become rows."""

    label: str
    from_table: Callable[[Table], list[Row]]
    from_evs: Callable[[Path], list[Row]]


def convert_hcp(source: Path, out: Path) -> None:
    """Write events for every WM and EMOTION run of a folder with HCP's subjects.

    Parameters
    ----------
    source : Path
        Folder whose subfolders are named by subject, such as ``HCP_1200``.
    out : Path
        BIDS tree to write; new or empty.

    Raises
    ------
    InputDataError
        No run is found, or none can be converted; one that cannot is reported among others that can.
    OutputInUseError
        The output is not empty.
    """
    runs = find_runs(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputInUseError(f"{out} is not empty. Give another folder; nothing was changed.")
    num_written, without_presses = 0, 0
    for run in runs:
        try:
            rows = events_of(run)
        except UserError as error:
            terminal.err.print(terminal.headed("Left out:", str(error)))
            continue
        stem = f"sub-{run.subject}_task-{_TASKS[run.task].label}_dir-{run.direction}_run-1_events.tsv"
        lines = ["\t".join(_COLUMNS), *("\t".join(row[name] for name in _COLUMNS) for row in rows)]
        write_text(out / f"sub-{run.subject}" / "func" / stem, "\n".join(lines) + "\n", sync=False)
        num_written += 1
        without_presses += run.table is None
    if not num_written:
        raise InputDataError(f"None of the {len(runs)} task runs in {source} could be converted.")
    write_json(
        out / "dataset_description.json", {"Name": "HCP task events", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    )
    for task in _TASKS.values():
        write_json(out / f"task-{task.label}_bold.json", {"TaskName": task.label, "RepetitionTime": _REPETITION_TIME})
    people = len({run.subject for run in runs})
    terminal.out.print(f"{num_written} of {len(runs)} task runs of {people} people: {out}")
    if without_presses:
        terminal.out.print(
            f"{without_presses} of them have EVs alone: no reaction times, so their trials can be simulated but not learnt from. "
            "The table *_TAB.txt of the run has them."
        )
    terminal.out.print("Read them with --ingest.tasks nback emotion, or look at one: dtb task check nback EVENTS.tsv")


def find_runs(source: Path) -> list[HcpRun]:
    """Return the WM and EMOTION runs of a folder with HCP's subjects, in order.

    Raises
    ------
    InputDataError
        There is none.
    """
    found = []
    subjects = sorted(path for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    for subject in subjects:
        for task in _TASKS:
            for direction in ("LR", "RL"):
                folders = [subject / place.format(run=f"tfMRI_{task}_{direction}") for place in _PLACES]
                tables = [path for folder in folders for path in sorted(folder.glob(f"{task}_run*_TAB.txt"))]
                evs = [folder / "EVs" for folder in folders if (folder / "EVs").is_dir()]
                if tables or evs:
                    found.append(HcpRun(subject.name, task, direction, next(iter(tables), None), next(iter(evs), None)))
    if not found:
        raise InputDataError(
            f"{source} has no WM or EMOTION run: looked for SUBJECT/{_PLACES[0].format(run='tfMRI_WM_LR')} and "
            f"SUBJECT/{_PLACES[1].format(run='tfMRI_WM_LR')}, with a folder EVs or a table WM_run*_TAB.txt."
        )
    return found


def events_of(run: HcpRun) -> list[Row]:
    """Return the rows of a run's events, in order of onset.

    Raises
    ------
    InputDataError
        A file cannot be read, or the EVs are not those of the table.
    """
    task = _TASKS[run.task]
    from_evs = [] if run.evs is None else task.from_evs(run.evs)
    if run.table is None:
        if not from_evs:
            raise InputDataError(f"{run.evs} has no EV of a {run.task} run.")
        return sorted(from_evs, key=lambda row: float(row["onset"]))
    rows = task.from_table(read_tsv(run.table))
    for ev in from_evs:
        near = [row for row in rows if abs(float(row["onset"]) - float(ev["onset"])) < _TOLERANCE]
        if not any(row["trial_type"].removeprefix("cue_") == ev["trial_type"] for row in near):
            raise InputDataError(
                f"{run.evs} has {ev['trial_type']} at {ev['onset']} s, where {run.table.name} has "
                f"{near[0]['trial_type'] if near else 'nothing'}: they are not of one run, or their clocks differ."
            )
    return sorted(rows, key=lambda row: float(row["onset"]))


def read_ev(path: Path) -> list[tuple[float, float]]:
    """Read a three-column file as (onset, duration) in seconds; an empty or absent one has no events.

    Raises
    ------
    InputDataError
        A line is not three numbers.
    """
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        values = [number_or_none(cell) for cell in line.split()]
        if not values:
            continue
        if len(values) != 3 or values[0] is None or values[1] is None or values[2] is None or values[1] <= 0:
            raise InputDataError(f"{path}, line {number}: {line.strip()!r}; expected onset, duration and height.")
        found.append((values[0], values[1]))
    return found


def _wm_from_table(table: Table) -> list[Row]:
    cells = _EPrime(table)
    start = cells.start()
    target_codes = Counter(
        (
            cells.text("Stim.CRESP", row) or cells.text("CorrectResponse", row),
            cells.text("TargetType", row).lower() == "target",
        )
        for row in range(table.num_rows)
        if cells.text("TargetType", row)
    )
    means = {code: target_codes[code, True] > target_codes[code, False] for code, _ in target_codes if code}
    rows = []
    for row in range(table.num_rows):
        procedure, block = cells.text("Procedure[Block]", row), cells.text("BlockType", row).replace("-", "").lower()
        if procedure in {"Cue2BackPROC", "Cue0BackPROC"}:
            cue, load = ("Cue2Back", "2back") if procedure == "Cue2BackPROC" else ("CueTarget", "0back")
            rows.append(_row(cells.seconds(f"{cue}.OnsetTime", row) - start, 2.5, f"cue_{load}"))
        elif procedure == "TrialsPROC":
            code, kind = (
                cells.text("Stim.RESP", row),
                cells.text("TargetType", row).lower().replace("nonlure", "nontarget"),
            )
            pressed = {True: "target", False: "nontarget"}.get(means.get(code), code) if code else "n/a"  # type: ignore[arg-type]
            seconds = f"{cells.seconds('Stim.RT', row):.3f}" if code else "n/a"
            correct = "target" if kind == "target" else "nontarget"
            rows.append(_row(cells.seconds("Stim.OnsetTime", row) - start, 2.0, block, kind, correct, pressed, seconds))
    return rows


def _wm_from_evs(folder: Path) -> list[Row]:
    """Make a row of each trial; or of each block, where the trials' EVs are absent."""
    trials, blocks = [], []
    for load, name in (("0bk", "0back"), ("2bk", "2back")):
        silent = {onset for onset, _ in read_ev(folder / f"{load}_nlr.txt")}
        shown = {onset for kind in ("cor", "err") for onset, _ in read_ev(folder / f"{load}_{kind}.txt")} | silent
        trials += [
            _row(onset, 2.0, name, _UNKNOWN, _UNKNOWN, "n/a" if onset in silent else _UNKNOWN) for onset in shown
        ]
        for kind in ("body", "faces", "places", "tools"):
            blocks += [_row(*each, name, *[_UNKNOWN] * 3) for each in read_ev(folder / f"{load}_{kind}.txt")]
    return trials or blocks


def _emotion_from_table(table: Table) -> list[Row]:
    cells = _EPrime(table)
    start = cells.start()
    codes = sorted(
        {
            code
            for row in range(table.num_rows)
            if (code := cells.text("StimSlide.CRESP", row) or cells.text("CorrectResponse", row))
        }
    )
    sides = dict(zip(codes, ("left", "right"), strict=False)) if len(codes) <= 2 else {}
    rows, kind = [], ""
    for row in range(table.num_rows):
        procedure = cells.text("Procedure", row) or cells.text("Procedure[Block]", row)
        if procedure in {"ShapePromptPROC", "FacePromptPROC"}:
            kind = "shape" if procedure == "ShapePromptPROC" else "face"
            rows.append(_row(cells.seconds(f"{kind}.OnsetTime", row) - start, 3.0, f"cue_{kind}"))
        elif procedure == "TrialsPROC":
            code = cells.text("StimSlide.RESP", row)
            correct = cells.text("StimSlide.CRESP", row) or cells.text("CorrectResponse", row)
            seconds = f"{cells.seconds('StimSlide.RT', row):.3f}" if code else "n/a"
            onset = cells.seconds("StimSlide.OnsetTime", row) - start
            pressed = sides.get(code, code) or "n/a"
            rows.append(
                _row(onset, 2.0, kind or _UNKNOWN, "n/a", sides.get(correct, correct) or "n/a", pressed, seconds)
            )
    return rows


def _emotion_from_evs(folder: Path) -> list[Row]:
    return [
        _row(onset, duration, kind, "n/a", _UNKNOWN, _UNKNOWN)
        for name, kind in (("fear", "face"), ("neut", "shape"))
        for onset, duration in read_ev(folder / f"{name}.txt")
    ]


_TASKS = {
    "WM": _HcpTask("wm", _wm_from_table, _wm_from_evs),
    "EMOTION": _HcpTask("emotion", _emotion_from_table, _emotion_from_evs),
}


def _row(
    onset: float,
    duration: float,
    trial_type: str,
    stim_type: str = "n/a",
    correct: str = "n/a",
    response: str = "n/a",
    seconds: str = "n/a",
) -> Row:
    values = (f"{onset:.3f}", f"{duration:g}", trial_type, stim_type, correct, response, seconds)
    return dict(zip(_COLUMNS, values, strict=True))


class _EPrime:
    """Cells of an E-Prime table, whose times are milliseconds and whose columns are called ``X`` or ``X[Block]`` by version."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def start(self) -> float:
        """Return when the scanner started, in seconds of E-Prime's clock."""
        for row in range(self._table.num_rows):
            if self.text("SyncSlide.OnsetTime", row):
                return self.seconds("SyncSlide.OnsetTime", row)
        raise InputDataError(f"{self._table.path} has no SyncSlide.OnsetTime: when the scanner started is unknown.")

    def text(self, column: str, row: int) -> str:
        """Return a cell as text; empty where it or the column is absent."""
        for name in (column, f"{column}[Block]"):
            if name in self._table.columns:
                return self._table.columns[name][row].strip().strip('"')
        return ""

    def seconds(self, column: str, row: int) -> float:
        """Return a time in seconds."""
        number = number_or_none(self.text(column, row))
        if number is None:
            raise InputDataError(
                f"{self._table.path}, line {row + 2}: {column!r} has {self.text(column, row) or 'nothing'!r}; expected milliseconds."
            )
        return number / 1000
