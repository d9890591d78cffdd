"""The contents of a folder of shards, with checksums by which readers verify them.

`manifest.json` is written last. A shard that it does not name is not read, and one that differs from what it says is refused: a
tar cut at a member's edge looks whole to every tar reader.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dtb.errors import DamagedOutputError, InputDataError
from dtb.files import write_json
from dtb.shards.remote import read_bytes, url_of

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1
SEALED = (MANIFEST_FILE, "reliability.safetensors")
"""Files whose SHA-256 `stage.json` holds, as the manifest holds the shards'."""
COUNTS = ("subjects", "runs", "trials", "usable_trials", "volumes", "absent_edges")
WITHOUT_CONNECTOME = "without_connectome"
"""Count of people without a connectome, which stands in a manifest only where there are any."""
_SHARD_NAME = re.compile(r"shard-\d{5,9}\.tar")


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One tar file.

    Attributes
    ----------
    name : str
        File name within the folder.
    sha256 : str
    num_bytes : int
    subjects : tuple of str
        Pseudonyms, in the order of the tar.
    """

    name: str
    sha256: str
    num_bytes: int
    subjects: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CohortDescription:
    """Properties shared by all people of a cohort.

    Attributes
    ----------
    regions : tuple of str
        Names of the regions, in the order of the connectome's rows and of the BOLD columns.
    taskset : dict
        `dtb.tasks.taskset.TaskSet.to_plain()`.
    connectome : dict
        How the connectomes were made (JSON values); new ones must be made in the same way.
    config_hash : str
        Hash of the configuration that made the cohort.
    source : dict of str to str
        `Name`, `License` and `DatasetDOI` of the data set, as far as it says them.
    """

    regions: tuple[str, ...]
    taskset: dict[str, Any]
    connectome: dict[str, Any]
    config_hash: str
    source: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of a folder of shards.

    Attributes
    ----------
    description : CohortDescription
    shards : tuple of ShardEntry
    counts : dict
        `subjects`, `runs`, `trials`, `usable_trials`, `volumes`, `absent_edges`; and `without_connectome` where that is not 0.
    """

    description: CohortDescription
    shards: tuple[ShardEntry, ...]
    counts: dict[str, int]

    @property
    def pseudonyms(self) -> tuple[str, ...]:
        """Return all pseudonyms, in the order of the shards."""
        return tuple(pseudonym for shard in self.shards for pseudonym in shard.subjects)

    @property
    def bold_regions(self) -> tuple[str, ...]:
        """Return the names of the regions with task BOLD; none in a cohort without task BOLD."""
        return self.description.regions if self.counts["volumes"] else ()

    @property
    def use_without_training(self) -> str:
        """Return why no twin can be trained on the shards, and what they can be used for; empty if one with person effects can."""
        if not self.counts["runs"]:
            return (
                "These shards hold connectomes and no task: they are for reading connectomes (`dtb.shards.read.open_cohort`), their "
                "reliability, and for twins that were trained on others (`dtb simulate` with simulate.designs). No twin can be trained on "
                "them: name tasks with ingest.tasks."
            )
        return ""

    @property
    def use_without_connectome(self) -> str:
        """Return how many people have no connectome, and what they can be used for; empty if everybody has one."""
        number = self.counts.get(WITHOUT_CONNECTOME, 0)
        if not number:
            return ""
        return (
            f"{number} of {self.counts['subjects']} people in these shards have no connectome, every edge of theirs being absent. A twin "
            "with `twin.person_effects` learns from them (`dtb train`), and updates them by their own data; whatever predicts people from "
            "connectomes needs shards of `ingest.without_connectome: set_aside`."
        )

    @property
    def cohort_hash(self) -> str:
        """Return the SHA-256 of the manifest's content: two cohorts with the same hash hold the same data."""
        canonical = json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Return the manifest as JSON values."""
        plain = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        if not self.description.source:  # as before there was one, so that the hash of such a cohort is what it was
            del plain["description"]["source"]
        return plain

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`, whole."""
        write_json(folder / MANIFEST_FILE, self.to_plain())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read `manifest.json` from `folder`, which may be a URL.

        Raises
        ------
        InputDataError
            There is no such folder, or no such file at the URL.
        DamagedOutputError
            It has no manifest, or one that cannot be used.
        """
        url = url_of(folder)
        if url is None and not folder.is_dir():
            raise InputDataError(f"{folder} does not exist or is not a folder; give the output folder of `dtb ingest`.")
        path = folder / MANIFEST_FILE
        try:
            text = read_bytes(f"{url}/{MANIFEST_FILE}").decode() if url else path.read_text(encoding="utf-8")
            found = json.loads(text)
        except FileNotFoundError:
            raise DamagedOutputError(
                f"{folder} has no {MANIFEST_FILE}: `dtb ingest` did not finish there, or it is not a folder of shards. "
                "Run `dtb ingest` again with --resume."
            ) from None
        except InputDataError:
            raise
        except (ValueError, OSError, RecursionError) as error:
            raise DamagedOutputError(f"{path} is not readable JSON ({error}); run `dtb ingest` anew.") from None
        return cls._from_plain(found, path)

    @classmethod
    def _from_plain(cls, found: Any, path: Path) -> Manifest:
        version = found.get("schema_version") if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise DamagedOutputError(
                f"{path} has schema version {version!r}; this version of dtb reads {SCHEMA_VERSION}. Run `dtb ingest` anew."
            )
        try:
            plain = {key: value for key, value in found.items() if key != "schema_version"}
            manifest = TypeAdapter(cls).validate_json(json.dumps(plain), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"]))
            raise DamagedOutputError(f"{path}: `{place}`: {problem['msg']}; run `dtb ingest` anew.") from None
        names = [shard.name for shard in manifest.shards]
        strange = [name for name in names if not _SHARD_NAME.fullmatch(name)]
        if strange or len(set(names)) < len(names) or len(set(manifest.pseudonyms)) < len(manifest.pseudonyms):
            raise DamagedOutputError(
                f"{path}: "
                + (f"{strange[0]!r} is not a name of a shard" if strange else "a shard or a person is named twice")
                + "; run `dtb ingest` anew."
            )
        if manifest.counts.get("subjects") != len(manifest.pseudonyms):
            raise DamagedOutputError(
                f"{path} counts {manifest.counts.get('subjects')} people and names {len(manifest.pseudonyms)}; run `dtb ingest` anew."
            )
        if absent := [name for name in COUNTS if manifest.counts.get(name, -1) < 0]:
            raise DamagedOutputError(f"{path} lacks the count of {absent[0]}; run `dtb ingest` anew.")
        return manifest
