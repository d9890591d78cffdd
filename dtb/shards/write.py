"""Writing people into WebDataset tars: each shard whole, the manifest last, the same bytes for the same people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from dtb.files import sha256_of, written_whole
from dtb.people.records import SubjectRecord
from dtb.shards.manifest import COUNTS, MANIFEST_FILE, WITHOUT_CONNECTOME, CohortDescription, Manifest, ShardEntry
from dtb.shards.sample import encode_sample


def counts_of(record: SubjectRecord) -> dict[str, int]:
    """Return one person's contribution to the counts of a manifest."""
    return {
        "subjects": 1,
        "runs": len(record.runs),
        "trials": sum(run.trials.num_trials for run in record.runs),
        "usable_trials": sum(int(run.trials.usable_J.sum()) for run in record.runs),
        "volumes": sum(len(run.bold_VR) for run in record.runs if run.bold_VR is not None),
        "absent_edges": int(np.isnan(record.connectome_E).sum()),
        **({} if record.has_connectome else {WITHOUT_CONNECTOME: 1}),
    }


class ShardWriter:
    """Writes people, in the order in which they are given, into tars of a fixed number of people.

    Parameters
    ----------
    folder : Path
        Folder of `shard-00000.tar` and so on; made if absent. Shards and a manifest of an earlier, interrupted writer are replaced.
    subjects_per_shard : int

    Examples
    --------
    ::

        writer = ShardWriter(folder, subjects_per_shard=32)
        for record in records:
            writer.add(record)
        manifest = writer.finish(description)
    """

    def __init__(self, folder: Path, subjects_per_shard: int) -> None:
        self._folder = folder
        self._subjects_per_shard = subjects_per_shard
        self._waiting: list[tuple[str, dict[str, bytes]]] = []
        self._shards: list[ShardEntry] = []
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        (folder / MANIFEST_FILE).unlink(missing_ok=True)

    def add(self, record: SubjectRecord) -> None:
        """Add one person; a shard is written as soon as it is full.

        Raises
        ------
        ValueError
            This pseudonym was added before.
        """
        if record.pseudonym in self._seen:
            raise ValueError(f"{record.pseudonym} was added twice")
        self._seen.add(record.pseudonym)
        self._waiting.append((record.pseudonym, encode_sample(record)))
        self._counts.update(counts_of(record))
        if len(self._waiting) == self._subjects_per_shard:
            self._write_shard()

    def finish(self, description: CohortDescription) -> Manifest:
        """Write the last shard, remove shards of an earlier writer, and write the manifest.

        Returns
        -------
        Manifest
        """
        if self._waiting:
            self._write_shard()
        named = {shard.name for shard in self._shards}
        for path in self._folder.glob("shard-*.tar"):
            if path.name not in named:
                path.unlink()
        manifest = Manifest(description=description, shards=tuple(self._shards), counts=dict(self._counts))
        manifest.save(self._folder)
        return manifest

    def _write_shard(self) -> None:
        # It imports torch, which takes 2 s, and a command that is refused is to say so at once.
        import webdataset

        path = self._folder / f"shard-{len(self._shards):05d}.tar"
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            # A fixed time, owner and mode: bytes depend on the people alone.
            with webdataset.TarWriter(stream, encoder=False, mtime=0, user="dtb", group="dtb") as tar:
                for pseudonym, members in self._waiting:
                    tar.write({"__key__": pseudonym, **members})
            stream.flush()
        subjects = tuple(pseudonym for pseudonym, _ in self._waiting)
        self._shards.append(ShardEntry(path.name, sha256_of(path), path.stat().st_size, subjects))
        self._waiting = []
