"""`dtb shards`: the contents of a folder of shards, and whether they are complete."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from dtb import terminal
from dtb.errors import DamagedOutputError, InputDataError
from dtb.files import sha256_of
from dtb.people.reliability import RELIABILITY_FILE, load_reliability
from dtb.shards.manifest import COUNTS, MANIFEST_FILE, WITHOUT_CONNECTOME, Manifest
from dtb.shards.read import home_of, open_cohort
from dtb.shards.remote import url_of
from dtb.shards.write import counts_of
from dtb.stages import STAGE_FILE, broken_seals, read_stage


def print_info(folder: Path) -> None:
    """Print the contents of a folder of shards: people, regions, tasks, trials, covariates.

    Raises
    ------
    InputDataError, DamagedOutputError
        See `dtb.shards.read.open_cohort`; contents are not compared with their checksums here.
    """
    cohort = open_cohort(folder, verify=False)
    manifest = cohort.manifest
    counts, description = manifest.counts, manifest.description
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    named = f" ({description.regions[0]} ... {description.regions[-1]})" if description.regions else ""
    terminal.out.print(
        f"{folder}: {counts['subjects']} people in {len(manifest.shards)} shards, {num_bytes / 2**20:.1f} MiB\n"
        f"  regions: {len(description.regions)}{named}\n"
        f"  connectome: {', '.join(f'{key} {value}' for key, value in description.connectome.items())}\n"
        f"  edges absent: {counts['absent_edges']}\n"
        f"  runs: {counts['runs']}, trials: {counts['trials']} ({counts['usable_trials']} usable), task volumes: {counts['volumes']}\n"
        f"  cohort hash: {manifest.cohort_hash[:16]}"
    )
    for use in filter(None, (manifest.use_without_training, manifest.use_without_connectome)):
        terminal.out.print(f"  {use}")
    headers = [cohort.header(pseudonym) for pseudonym in cohort.pseudonyms]
    for sentence in _rest_in_words(folder, headers):
        terminal.out.print(f"  {sentence}")
    table = terminal.table("Covariates", "covariate", "known", "values")
    for name in dict.fromkeys(key for header in headers for key in header["covariates"]):
        known = [value for header in headers if (value := header["covariates"].get(name)) is not None]
        table.add_row(name, f"{len(known)} of {len(headers)}", _summary(known))
    terminal.out.print(table)
    runs = Counter(f"{run['task']} ({run['label']})" for header in headers for run in header["runs"])
    terminal.out.print(
        "  " + (", ".join(f"{label}: {count} runs" for label, count in sorted(runs.items())) or "no task runs")
    )


def _rest_in_words(folder: Path, headers: list[dict[str, Any]]) -> list[str]:
    """Return in words which rest runs are kept apart, and how reliable edges are."""
    found = []
    kept = Counter(len(header["rest_runs"]) for header in headers if header.get("rest_runs"))
    if kept:
        numbers = ", ".join(f"{count} people with {num_runs}" for num_runs, count in sorted(kept.items()))
        found.append(f"rest runs kept apart: {numbers}")
    reliability = load_reliability(folder)
    if reliability:
        icc_E, retest_E = reliability["icc_E"], reliability["retest_sd_E"]
        known_E = np.isfinite(icc_E)
        if known_E.any():
            quarters = np.percentile(icc_E[known_E], [25, 50, 75])
            found.append(
                f"edge reliability over rest runs ({int(reliability['num_people_E'].max())} people): ICC {quarters[1]:.2f} in the median "
                f"(middle half {quarters[0]:.2f} to {quarters[2]:.2f}), test-retest SD {np.median(retest_E[known_E]):.3f}"
            )
    return found


def verify_shards(folder: Path) -> None:
    """Print all faults: shards against sizes and SHA-256, the manifest against `stage.json` and against the shards.

    Raises
    ------
    InputDataError
        There is no such folder.
    DamagedOutputError
        A shard is missing, cut, altered or not in the manifest; or the manifest or its hash was altered.
    """
    manifest = Manifest.load(folder)
    outer = folder
    folder = home_of(folder, manifest)
    if url_of(folder) is not None:
        raise InputDataError(f"{folder}: shards at a URL are compared with their checksums whenever one is read.")
    problems = []
    with terminal.progress() as progress:
        for shard in progress.track(manifest.shards, description="Shards"):
            path = folder / shard.name
            if not path.is_file():
                problems.append(f"{shard.name} is missing ({len(shard.subjects)} people)")
            elif path.stat().st_size != shard.num_bytes:
                problems.append(f"{shard.name} has {path.stat().st_size} bytes; the manifest says {shard.num_bytes}")
            elif sha256_of(path) != shard.sha256:
                problems.append(f"{shard.name} was altered: its SHA-256 is not the manifest's")
    named = {shard.name for shard in manifest.shards}
    problems += [
        f"{path.name} is not in the manifest" for path in sorted(folder.glob("*.tar")) if path.name not in named
    ]
    problems += _problems_of_manifest(outer, manifest) if not problems else []
    if problems:
        raise DamagedOutputError(
            f"{folder} is damaged; run `dtb ingest` anew:\n" + "\n".join(f"  {line}" for line in problems)
        )
    terminal.out.print(f"{folder}: all {len(manifest.shards)} shards are whole.")


def _problems_of_manifest(folder: Path, manifest: Manifest) -> list[str]:
    """Return the faults of a manifest."""
    if not (folder / STAGE_FILE).is_file():
        return [f"{STAGE_FILE} is missing, which tells whether {MANIFEST_FILE} is as it was written"]
    sealed = read_stage(folder).get("sha256", {})
    if MANIFEST_FILE not in sealed:
        return [f"{STAGE_FILE} does not tell whether {MANIFEST_FILE} is as it was written: an older dtb made it"]
    broken = [f"{name} was altered: its SHA-256 is not that in {STAGE_FILE}" for name in broken_seals(folder)]
    if broken:
        return broken
    if (folder / RELIABILITY_FILE).is_file() and RELIABILITY_FILE not in sealed:
        return [f"{RELIABILITY_FILE} was added: {STAGE_FILE} does not name it"]
    counts = Counter(dict.fromkeys(COUNTS, 0))
    try:
        for record in open_cohort(folder, verify=False).records():
            counts.update(counts_of(record))
    except DamagedOutputError as error:
        return [str(error)]
    return [
        f"{MANIFEST_FILE} counts {manifest.counts.get(name, 0)} {name.replace('_', ' ')}, the shards hold {counts[name]}"
        for name in (*COUNTS, WITHOUT_CONNECTOME)
        if manifest.counts.get(name, 0) != counts[name]
    ]


def _summary(values: list[object]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    if values and len(numbers) == len(values):
        return f"mean {np.mean(numbers):.3g}, from {min(numbers):.3g} to {max(numbers):.3g}"
    counts = Counter(str(value) for value in values)
    return ", ".join(f"{value} {count}" for value, count in counts.most_common(6))
