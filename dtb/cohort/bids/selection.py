"""The selection of people, sessions, tasks and runs, by labels as in other BIDS apps and by fMRIPrep's filter file."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import bids2table

from dtb import terminal
from dtb.cohort.bids.names import BidsName
from dtb.config import IngestConfig
from dtb.config.labels import read_labels
from dtb.errors import ConfigurationError, InputDataError
from dtb.tasks.spec import TaskSpec, load_task

_OTHER_QUERIES = ("t1w", "t2w", "flair", "roi", "fmap", "sbref")
_RAW_ENTITIES = ("ses", "task", "acq", "ce", "rec", "dir", "run")
_NUMBERED = ("run", "echo")

Values = tuple[str | None, ...]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The selected part of a cohort; an empty collection selects everything.

    Attributes
    ----------
    participants, sessions, tasks : frozenset of str
        Labels, without their keys.
    filters : dict of str to tuple of (str or None)
        By short entity key, the values that are wanted; None wants files without the entity, ``*`` those with any value.
    """

    participants: frozenset[str]
    sessions: frozenset[str]
    tasks: frozenset[str]
    filters: dict[str, Values]

    def among(self, labels: Iterable[str]) -> list[str]:
        """Return the selected participants."""
        return [label for label in labels if not self.participants or label in self.participants]

    def wants(self, name: BidsName) -> bool:
        """Return whether a file is of a selected session and passes the filters; events have the entities of raw images only."""
        keys = _RAW_ENTITIES if name.suffix == "events" else self.filters
        return self._passes(name, keys)

    def wants_matrix(self, name: BidsName) -> bool:
        """Return whether a matrix is selected, by its session and the entities in its name."""
        return self._passes(name, {"ses", *name.entities})

    def _passes(self, name: BidsName, keys: Collection[str]) -> bool:
        if self.sessions and name.entities.get("ses") not in self.sessions:
            return False
        return all(
            _is_among(key, values, name.entities.get(key)) for key, values in self.filters.items() if key in keys
        )

    def wants_task(self, label: str, spec: TaskSpec) -> bool:
        """Return whether a task of `spec` is selected, by its BIDS label or by the name of the specification."""
        return not self.tasks or label in self.tasks or spec.name in self.tasks


def read_selection(config: IngestConfig) -> Selection:
    """Return the selection of the configuration and its filter file.

    Raises
    ------
    ConfigurationError
        The filter file is not one.
    """
    file = config.bids_filter_file
    return Selection(
        _plain_labels(read_labels(config.participant_label), "sub-"),
        _plain_labels(config.session_label, "ses-"),
        _plain_labels(config.task, "task-"),
        {} if file is None else _read_filters(file),
    )


def _plain_labels(given: tuple[str, ...], key: str) -> frozenset[str]:
    return frozenset(label.removeprefix(key) for label in given)


def wanted_specs(config: IngestConfig) -> tuple[TaskSpec, ...]:
    """Return the task specifications that the selected tasks need.

    Raises
    ------
    InputDataError
        A wanted task is none that a specification reads.
    """
    specs = tuple(load_task(name) for name in config.tasks)
    wanted = _plain_labels(config.task, "task-")
    if not wanted:
        return specs
    for label in sorted(wanted):
        if not label.startswith(config.rest_task) and not any(_reads(spec, label) for spec in specs):
            advice = near(label, [spec.name for spec in specs])
            raise InputDataError(
                f"ingest.task: none of ingest.tasks ({', '.join(spec.name for spec in specs)}) reads task-{label}.{advice} A task of your "
                "own needs a specification; see docs/tasks.md."
            )
    found = tuple(spec for spec in specs if any(_reads(spec, label) for label in wanted))
    if not found:
        raise InputDataError("ingest.task names rest only, which is read in any case; name a task with events too.")
    return found


def _reads(spec: TaskSpec, label: str) -> bool:
    return label == spec.name or spec.fits_label(label)


def near(label: str, known: Iterable[str], key: str = "") -> str:
    """Return a sentence with labels similar to an unknown one, or nothing."""
    found = difflib.get_close_matches(label, list(known), n=3)
    return f" Did you mean {' or '.join(key + each for each in found)}?" if found else ""


def _is_among(key: str, wanted: Values, value: str | None) -> bool:
    if value is None:
        return None in wanted
    return "*" in wanted or _plain(key, value) in {_plain(key, each) for each in wanted if each is not None}


def _plain(key: str, value: str) -> str:
    return str(int(value)) if key in _NUMBERED and value.isdecimal() else value


def _read_filters(path: Path) -> dict[str, Values]:
    """Read fMRIPrep's filter file: ``{"bold": {"session": "pre", "run": [1, 2], "acquisition": null, "space": "*"}}``."""
    try:
        queries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"ingest.bids_filter_file: {path} is not readable JSON ({error}).") from None
    if not isinstance(queries, dict) or not all(isinstance(query, dict) for query in queries.values()):
        raise ConfigurationError(
            f"{path} holds no filters; expected {{QUERY: {{ENTITY: VALUE, ...}}, ...}}, as fMRIPrep has it."
        )
    for query in queries:
        if query != "bold" and query not in _OTHER_QUERIES:
            advice = near(query, ("bold", *_OTHER_QUERIES))
            raise ConfigurationError(
                f"{path}: there is no query '{query}'.{advice} dtb reads 'bold', and passes over "
                f"fMRIPrep's others: {', '.join(_OTHER_QUERIES)}."
            )
    unused = [query for query in queries if query != "bold"]
    if unused:
        terminal.err.print(f"{path}: passed over: {', '.join(unused)}; dtb reads 'bold' only.")
    keys = _entity_keys()
    filters: dict[str, Values] = {}
    for entity, value in queries.get("bold", {}).items():
        values = _values(value, f"{path}: bold.{entity}")
        if entity in {"datatype", "suffix", "extension"}:
            _require_bold(entity, values, path)
        elif entity not in keys:
            raise ConfigurationError(f"{path}: bold.{entity} is not a BIDS entity.{near(entity, keys)}")
        else:
            key = keys[entity]
            filters[key] = tuple(each if each is None else each.removeprefix(f"{key}-") for each in values)
    return filters


def _values(value: object, where: str) -> Values:
    values = value if isinstance(value, list) else [value]
    if not values or not all(
        each is None or (isinstance(each, str | int) and not isinstance(each, bool)) for each in values
    ):
        raise ConfigurationError(
            f'{where} is {json.dumps(value)}; expected a label, a number, null (the entity is absent), "*" (it is '
            "there), or a list of these."
        )
    return tuple(None if each is None else str(each) for each in values)


def _require_bold(entity: str, values: Values, path: Path) -> None:
    """Refuse filters other than fMRIPrep's own defaults for BOLD images, which would have no effect."""
    meant = {
        "datatype": ("func", "*"),
        "suffix": ("bold", "*"),
        "extension": (".nii", ".nii.gz", "nii", "nii.gz", "*"),
    }[entity]
    if not set(values) & set(meant):
        raise ConfigurationError(
            f"{path}: bold.{entity} is {', '.join(map(str, values))}, but BOLD runs are all that is read (expected {meant[0]}). Which "
            "kind of derivative is read is chosen with ingest.layout."
        )


def _entity_keys() -> dict[str, str]:
    """Return the key in file names of each entity, by its name in BIDS (and PyBIDS) and by the key itself."""
    fields = [field for field in bids2table.get_arrow_schema() if b"entity" in (field.metadata or {})]
    return {name: field.name for field in fields for name in (field.metadata[b"entity"].decode(), field.name)}


def require_known(wanted: Collection[str], known: Collection[str], option: str, key: str, where: str) -> None:
    """Refuse labels that nobody has.

    Raises
    ------
    InputDataError
        It names them, and those that come near.
    """
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        advice = "".join(near(label, known, key) for label in unknown[:3])
        listed = ", ".join(f"{key}{label}" for label in unknown)
        raise InputDataError(f"{option}: {where} belongs to {listed}.{advice or _few(known, key)}")


def _few(known: Collection[str], key: str) -> str:
    listed = sorted(known)
    if not listed:
        return f" There is no {key}* at all."
    return f" There is {', '.join(key + label for label in listed[:8])}{' and more' if len(listed) > 8 else ''}."
