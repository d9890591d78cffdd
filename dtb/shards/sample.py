"""A person as two members of a tar: `<pseudonym>.json` for text, `<pseudonym>.safetensors` for numbers.

Neither can hold code, so a shard from elsewhere is safe to open; nothing here is ever pickled.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NotRequired

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import FiniteFloat, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from dtb.people.records import Run, SubjectRecord, num_regions_of
from dtb.tasks.trials import Trials

_KINDS = dict.fromkeys(("response", "correct", "scored", "usable"), "b") | {"condition": "i", "pulse_channel": "i"}
_TRIAL_ARRAYS = tuple(field.name for field in dataclasses.fields(Trials))


class _RunHeader(TypedDict):
    task: str
    label: str
    session: str | None
    run: str | None
    duration_seconds: FiniteFloat
    repetition_time: FiniteFloat | None
    first_volume_seconds: NotRequired[FiniteFloat]


class _Header(TypedDict):
    pseudonym: str
    covariates: dict[str, FiniteFloat | str | None]
    runs: list[_RunHeader]
    rest_runs: NotRequired[list[str]]


_HEADER = TypeAdapter(_Header)


def encode_sample(record: SubjectRecord) -> dict[str, bytes]:
    """Return a person's two members, by their extensions.

    Parameters
    ----------
    record : SubjectRecord

    Returns
    -------
    dict
        ``{"json": bytes, "safetensors": bytes}``, the same bytes for the same person every time.

    Raises
    ------
    ValueError
        The pseudonym is not letters and digits only: a period in it would break WebDataset's grouping of members.
    """
    if not record.pseudonym.isascii() or not record.pseudonym.isalnum():
        raise ValueError(f"pseudonym {record.pseudonym!r} may hold letters and digits only")
    arrays = {"connectome_E": record.connectome_E}
    arrays |= {f"rest{number}.connectome_E": edges_E for number, edges_E in enumerate(record.rest_runs.values())}
    runs = []
    for number, run in enumerate(record.runs):
        runs.append(
            {
                "task": run.task,
                "label": run.label,
                "session": run.session,
                "run": run.run,
                "duration_seconds": run.duration_seconds,
                "repetition_time": run.repetition_time,
                "first_volume_seconds": run.first_volume_seconds,
            }
        )
        if run.bold_VR is not None:
            arrays[f"run{number}.bold_VR"] = run.bold_VR
        if run.bold_mean_R is not None:
            arrays[f"run{number}.bold_mean_R"] = run.bold_mean_R
        arrays |= {f"run{number}.{name}": getattr(run.trials, name) for name in _TRIAL_ARRAYS}
    header = {"pseudonym": record.pseudonym, "covariates": record.covariates, "runs": runs}
    if record.rest_runs:
        header["rest_runs"] = list(record.rest_runs)
    return {
        "json": json.dumps(header, sort_keys=True, allow_nan=False, ensure_ascii=False).encode(),
        "safetensors": safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
    }


def decode_header(json_bytes: bytes) -> dict[str, Any]:
    """Return the content of the JSON member: `pseudonym`, `covariates`, `runs` and, where kept, `rest_runs`, without their arrays.

    Raises
    ------
    ValueError
        The bytes are not such a member.
    """
    return dict(_HEADER.validate_json(json_bytes, strict=True))


def decode_sample(json_bytes: bytes, safetensors_bytes: bytes) -> SubjectRecord:
    """Return the person that `encode_sample` encoded.

    Parameters
    ----------
    json_bytes, safetensors_bytes : bytes
        The two members of a shard.

    Raises
    ------
    ValueError
        The bytes are not those of `encode_sample`.
    """
    header = decode_header(json_bytes)
    try:
        arrays = safetensors.numpy.load(safetensors_bytes)
        _require_shapes(arrays, len(header["runs"]))
        runs = tuple(
            Run(
                trials=Trials(**{name: arrays[f"run{number}.{name}"] for name in _TRIAL_ARRAYS}),
                bold_VR=arrays.get(f"run{number}.bold_VR"),
                bold_mean_R=arrays.get(f"run{number}.bold_mean_R"),
                **fields,
            )
            for number, fields in enumerate(header["runs"])
        )
        return SubjectRecord(
            pseudonym=header["pseudonym"],
            connectome_E=arrays["connectome_E"],
            covariates=header["covariates"],
            runs=runs,
            rest_runs={
                label: arrays[f"rest{number}.connectome_E"] for number, label in enumerate(header.get("rest_runs", []))
            },
        )
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"not a person's arrays: {error}") from None


def _require_shapes(arrays: dict[str, np.ndarray], num_runs: int) -> None:
    """Refuse arrays whose kinds or shapes do not fit each other: the letters at the end of a name are its axes."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        owner, _, field = name.rpartition(".")
        field, _, letters = field.rpartition("_")
        if array.dtype.kind != _KINDS.get(field, "f") or array.ndim != len(letters):
            raise ValueError(f"{name} has type {array.dtype} and shape {array.shape}")
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise ValueError(f"{name} has infinite values")
        for letter, size in zip(letters, array.shape, strict=True):
            axis = letter if letter in "ER" else f"{owner}.{letter}"
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"{name} has shape {array.shape}, which other arrays do not fit")
    if sizes.get("R", num_regions_of(sizes["E"])) != num_regions_of(sizes["E"]):
        raise ValueError(f"the BOLD of {sizes['R']} regions and {sizes['E']} edges do not fit")
    if any(
        not name.startswith(("rest", "connectome")) and int(name[3 : name.index(".")]) >= num_runs for name in arrays
    ):
        raise ValueError("there are arrays of a run that the JSON member does not name")
