"""Bundle means of a 97 x 115 x 97 x 300 image: ours against nilearn's NiftiLabelsMasker, on the same file with the same atlas.

    python scripts/bench/parcellate.py ATLAS.nii.gz [--volumes 300 600] [--folder DIR] [--kinds nii nii.gz] [--at-once 1 2]

Each is run in a process of its own, so that its peak memory is its own. The file holds random int16 numbers, the worst case for
decompression. nilearn is run for the first length; ours for all, to show that its memory does not grow. With `--at-once`, so many processes
do the same at a time, as `dtb ingest` reads a person on each core.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("--volumes", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--kinds", nargs="+", default=["nii", "nii.gz"])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1])
    parser.add_argument("--one", nargs=3, metavar=("WHO", "FILE", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one[0], Path(options.one[1]), options.atlas, Path(options.one[2]))
        return
    packages = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("nilearn", "nibabel", "numpy", "isal")
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for kind in options.kinds:
            for place, num_volumes in enumerate(options.volumes):
                whose = ("ours",) if place else ("nilearn", "ours")
                compare(Path(name), options.atlas, kind, num_volumes, whose, options.at_once)


def compare(
    folder: Path, atlas: Path, kind: str, num_volumes: int, whose: tuple[str, ...], numbers: Sequence[int]
) -> None:
    """Make an image, measure everybody on it, and compare what they found."""
    path = folder / f"run.{kind}"
    make(path, atlas, num_volumes)
    for number in numbers:
        rows = {}
        for who in whose:
            command = [sys.executable, __file__, str(atlas), "--one", who, str(path), str(folder / f"{who}.npy")]
            begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
            found = [json.loads(process.communicate()[0]) for process in begun]
            rows[who] = {name: statistics.mean(one[name] for one in found) for name in found[0]}
            one = rows[who]
            print(
                f"{kind:7s} {num_volumes} volumes {who:8s} {number} at once {one['seconds']:7.2f} s wall {one['cpu']:7.2f} s CPU each, "
                f"{60 * number / one['seconds']:.1f} a minute, {one['mib']:7.0f} MiB peak each "
                f"({one['mib'] - one['before_mib']:.0f} over imports); load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        if len(whose) > 1:
            theirs, ours = (np.load(folder / f"{who}.npy") for who in ("nilearn", "ours"))
            wall, cpu, memory = (rows["nilearn"][each] / rows["ours"][each] for each in ("seconds", "cpu", "mib"))
            print(
                f"{kind:7s} {number} at once: {wall:.1f} times as fast ({cpu:.1f} in CPU), 1/{memory:.1f} of the memory; largest "
                f"difference {np.abs(ours - theirs).max() / np.abs(theirs).max():.1e} of the largest value",
                flush=True,
            )
    path.unlink()


def make(path: Path, atlas: Path, num_volumes: int) -> None:
    """Write random volumes on the atlas's grid."""
    grid = nibabel.load(atlas)
    rng = np.random.default_rng(0)
    values = rng.integers(1000, 12000, size=(num_volumes, *grid.shape[::-1]), dtype=np.int16)
    image = nibabel.Nifti1Image(values.T, grid.affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], 0.8))
    nibabel.openers.Opener.default_compresslevel = 1
    image.to_filename(path)


def measure(who: str, path: Path, atlas: Path, result: Path) -> None:
    """Parcellate once and print what it took."""
    if who == "ours":
        from dtb.cohort.series.atlas import VolumeAtlas
        from dtb.cohort.series.volumes import parcellate_volumes
    else:
        from nilearn.maskers import NiftiLabelsMasker
    labels = np.unique(np.asarray(nibabel.load(atlas).dataobj))
    before, start, used = peak(), time.perf_counter(), time.process_time()
    if who == "ours":
        numbers = labels[labels > 0].astype(int)
        values = parcellate_volumes(path, VolumeAtlas(atlas, numbers), max_memory_gib=1.5, min_coverage=0.5).values_VR
    else:
        values = NiftiLabelsMasker(str(atlas), resampling_target=None, standardize=None).fit_transform(str(path))
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    np.save(result, values)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mib": peak(), "before_mib": before}))


def peak() -> float:
    """Peak memory of this program in MiB; unlike getrusage's, it does not begin with that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
