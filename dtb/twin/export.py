"""The twin as two files that anyone can read without running code: `twin.safetensors` with the numbers, `twin.json` with the rest.

The JSON carries what later stages need to use the twin rightly (tasks, regions, how connectomes were made) and which data made it.
It is written last and holds the SHA-256 of the other: a folder with both is whole.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dtb.config import SegmentConfig, TwinConfig, from_mapping, to_plain
from dtb.errors import ConfigurationError, DamagedOutputError, InputDataError
from dtb.files import sha256_of, write_json, written_whole
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes
from dtb.version import __version__

CARD_FILE = "twin.json"
NUMBERS_FILE = "twin.safetensors"
_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class TwinCard:
    """The description of an exported twin.

    Attributes
    ----------
    config : TwinConfig
    sizes : TwinSizes
    taskset : dict
        The task set in plain form (`TaskSet.to_plain`).
    region_names : tuple of str
        Regions of the connectome, in order.
    bold_region_names : tuple of str
        Regions whose BOLD is predicted, in order.
    connectome : dict
        How connectomes were made; new ones must be made likewise.
    cohort_hash, split_hash : str
        Which data, and which division of them, trained it.
    seed : int
    segments : SegmentConfig
        How runs were cut in training.
    version : str
        Version of dtb that wrote it.
    """

    config: TwinConfig
    sizes: TwinSizes
    taskset: dict[str, Any]
    region_names: tuple[str, ...]
    bold_region_names: tuple[str, ...]
    connectome: dict[str, Any]
    cohort_hash: str
    split_hash: str
    seed: int
    segments: SegmentConfig
    version: str = __version__


def save_twin(path: Path, twin: Twin, card: TwinCard) -> None:
    """Write a twin into the folder `path`, each file atomically.

    Raises
    ------
    ValueError
        The card describes another twin.
    """
    if card.config != twin.config or card.sizes != twin.sizes:
        raise ValueError("the card's configuration or sizes are not this twin's")
    if len(card.region_names) != twin.sizes.num_regions or len(card.bold_region_names) != twin.sizes.num_bold_regions:
        raise ValueError("the card names another number of regions than the twin has")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in twin.state_dict().items()}
    with written_whole(path / NUMBERS_FILE) as temporary:
        save_file(tensors, temporary)
    plain = {
        "schema": _SCHEMA,
        "numbers_sha256": sha256_of(path / NUMBERS_FILE),
        **{field.name: getattr(card, field.name) for field in dataclasses.fields(card)},
        "config": to_plain(card.config),
        # Written only where there are any, so that versions that know none can read the others.
        "sizes": {name: size for name, size in vars(card.sizes).items() if size or name != "num_features"},
        "segments": to_plain(card.segments),
    }
    write_json(path / CARD_FILE, plain)


def require_distinct(trained: Path, members: Sequence[Path], option: str) -> None:
    """Refuse an ensemble, whose further members `option` names, that has one trained folder twice: it would agree with itself.

    Raises
    ------
    ConfigurationError
        A folder is named twice.
    """
    seen: set[Path] = set()
    for path in (trained, *members):
        if path.resolve() in seen:
            raise ConfigurationError(
                f"{option}: {path} is in the ensemble already; TRAINED is its first member. Name each further training once."
            )
        seen.add(path.resolve())


def read_twin(path: Path) -> tuple[Twin, TwinCard]:
    """Read the twin in the folder `path`, in evaluation mode.

    Returns
    -------
    Twin, TwinCard

    Raises
    ------
    InputDataError
        There is no exported twin there.
    DamagedOutputError
        A file is altered, cut or does not fit the other.
    """
    card, numbers_sha256 = _read_card(path)
    numbers = path / NUMBERS_FILE
    if not numbers.is_file():
        raise DamagedOutputError(f"{path} has {CARD_FILE} but no {NUMBERS_FILE}. Copy the whole folder, or train anew.")
    if sha256_of(numbers) != numbers_sha256:
        raise DamagedOutputError(
            f"{numbers} is not the file that {CARD_FILE} describes. Copy the folder anew, or train anew."
        )
    try:
        tensors = load_file(numbers)
    except SafetensorError as error:
        raise DamagedOutputError(f"{numbers} is not a readable safetensors file ({error}). Train anew.") from None
    with torch.device(
        "meta"
    ):  # the JSON may ask for any size: nothing is allocated before the tensors are found to have it
        wanted = {name: tuple(tensor.shape) for name, tensor in Twin(card.config, card.sizes).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise DamagedOutputError(
            f"{numbers} does not fit the configuration in {CARD_FILE}: {', '.join(wrong[:5])}. "
            "It was written by another version, or the JSON was edited. Train anew."
        )
    if absent := sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all()):
        raise DamagedOutputError(f"{numbers}: {', '.join(absent[:5])}: values that are not finite numbers. Train anew.")
    twin = Twin(card.config, card.sizes)
    twin.load_state_dict(tensors)
    twin.region_names, twin.bold_region_names = card.region_names, card.bold_region_names
    return twin.to(dtype=_dtype_of(tensors)).eval(), card


def _dtype_of(tensors: dict[str, torch.Tensor]) -> torch.dtype:
    """Float32, unless every number was kept in float64: reduced precision in training is no reason to compute in it later."""
    kept = {tensor.dtype for tensor in tensors.values()}
    return torch.float64 if kept == {torch.float64} else torch.float32


def _read_card(path: Path) -> tuple[TwinCard, str]:
    card_file = path / CARD_FILE
    if not card_file.is_file():
        raise InputDataError(
            f"{path} has no {CARD_FILE}: it holds no exported twin. Give the `twin` folder of a training."
        )
    try:
        plain = json.loads(card_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedOutputError(f"{card_file} is not readable JSON ({error}). Train anew.") from None
    if not isinstance(plain, dict) or plain.get("schema") != _SCHEMA:
        found = plain.get("schema") if isinstance(plain, dict) else None
        raise DamagedOutputError(f"{card_file} has schema {found!r}; this version of dtb reads {_SCHEMA}. Train anew.")
    wanted = {"schema", "numbers_sha256", *(field.name for field in dataclasses.fields(TwinCard))}
    if plain.keys() != wanted:
        wrong = sorted(plain.keys() ^ wanted)
        raise DamagedOutputError(f"{card_file} has missing or unknown keys: {', '.join(wrong)}. Train anew.")
    values = {name: plain[name] for name in wanted - {"schema", "numbers_sha256"}}
    try:
        values["sizes"] = TwinSizes(**values["sizes"])
    except (TypeError, ValueError) as error:
        raise DamagedOutputError(
            f"{card_file}: sizes {values['sizes']!r} are not a twin's ({error}). Train anew."
        ) from None
    # Twins of versions without person effects say nothing of them.
    values["config"].setdefault("person_effects", False)
    values["config"] = from_mapping(TwinConfig, values["config"], str(card_file))
    values["segments"] = from_mapping(SegmentConfig, values["segments"], str(card_file))
    values["region_names"] = tuple(values["region_names"])
    values["bold_region_names"] = tuple(values["bold_region_names"])
    return TwinCard(**values), str(plain["numbers_sha256"])
