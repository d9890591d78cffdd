"""A person as two members of a tar: `<pseudonym>.json` for what is text, `<pseudonym>.safetensors` for what is numbers.

Neither can hold code, so a shard from elsewhere is safe to open; nothing here is ever pickled.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dtb.cohort.records import Run, SubjectRecord
from dtb.tasks.trials import Trials

_TRIAL_ARRAYS = tuple(field.name for field in dataclasses.fields(Trials))


def encode_sample(record: SubjectRecord) -> dict[str, bytes]:
    """Give a person's two members, by their extensions.

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
            }
        )
        if run.bold_VR is not None:
            arrays[f"run{number}.bold_VR"] = run.bold_VR
        arrays |= {f"run{number}.{name}": getattr(run.trials, name) for name in _TRIAL_ARRAYS}
    header = {"pseudonym": record.pseudonym, "covariates": record.covariates, "runs": runs}
    if record.rest_runs:
        header["rest_runs"] = list(record.rest_runs)
    return {
        "json": json.dumps(header, sort_keys=True, allow_nan=False, ensure_ascii=False).encode(),
        "safetensors": safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
    }


def decode_header(json_bytes: bytes) -> dict[str, Any]:
    """Give what the JSON member says: `pseudonym`, `covariates`, `runs` and, where kept, `rest_runs`, without their arrays.

    Raises
    ------
    ValueError
        The bytes are not such a member.
    """
    header = json.loads(json_bytes)
    if not isinstance(header, dict) or {"pseudonym", "covariates", "runs"} - header.keys():
        raise ValueError("the JSON member lacks pseudonym, covariates or runs")
    return header


def decode_sample(json_bytes: bytes, safetensors_bytes: bytes) -> SubjectRecord:
    """Make the person that `encode_sample` took apart.

    Raises
    ------
    ValueError
        The bytes are not what `encode_sample` gives.
    """
    header = decode_header(json_bytes)
    try:
        arrays = safetensors.numpy.load(safetensors_bytes)
        runs = tuple(
            Run(
                trials=Trials(**{name: arrays[f"run{number}.{name}"] for name in _TRIAL_ARRAYS}),
                bold_VR=arrays.get(f"run{number}.bold_VR"),
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
