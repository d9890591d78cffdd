"""Ask of the certificate of pooled folds how often it is wrong, on many cohorts whose truth is known.

    python -m scripts.studies.certificate_error_rates OUT [--num 200] [--num-true 60] [--cpus 2] [--docs docs]

Null cohorts are of nine kinds: nothing in common, or family, diagnosis, age, or site and motion behind both connectome and behaviour, on
few edges or on all. Beside them are cohorts with a true effect, for power. OUT keeps what came of every cohort, so that a second call does
only what is missing; docs/certificate-error-rates.md is about all that OUT has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from dtb import terminal
from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.scores.figure import number_or_none
from dtb.files import write_json, write_text
from scripts.studies.closed_form import certificates, folds_of
from scripts.studies.error_rates_page import page
from scripts.studies.null_cohorts import CohortKind, make_cohort

NUM_PEOPLE = 120
FIRST_SEED = 1000
KINDS = {
    "plain": CohortKind(),
    **{
        f"{third}, {loading}": CohortKind(third, loading)
        for third in ("family", "group", "age", "site and motion")
        for loading in ("sparse", "dense")
    },
}
"""Null cohorts."""
TRUE_KINDS = {
    "true, sparse, small": CohortKind("", "sparse", 0.32),
    "true, sparse, large": CohortKind("", "sparse", 0.42),
    "true, dense, small": CohortKind("", "dense", 0.35),
    "true, dense, large": CohortKind("", "dense", 0.48),
}
"""Their strengths let the stack reach partial correlations of about .2 and .3."""
NUM_WITH_RIDGE = 20
"""In so many cohorts of each kind ridge regression alone stands in a twin's place too."""


def one_cohort(kind: str, number: int, out: Path) -> None:
    """Certify one cohort, unless that is done, and keep what came of it."""
    result = result_of(out, kind, number)
    if result.is_file():
        return
    begun, seed = time.process_time(), FIRST_SEED + number
    cohort = make_cohort({**KINDS, **TRUE_KINDS}[kind], NUM_PEOPLE, seed)
    readers = ("stack", "ridge") if number < NUM_WITH_RIDGE else ("stack",)
    found = certificates(cohort, folds_of(cohort), readers)
    plain = {name: _plain(certificate) for name, certificate in found.items()}
    result.parent.mkdir(parents=True, exist_ok=True)
    row = {"kind": kind, "number": number, "cpu_seconds": time.process_time() - begun, "certificates": plain}
    write_json(result, row)


def _plain(certificate: Certificate) -> dict[str, Any]:
    return {
        "verdict": certificate.verdict,
        "fits": certificate.fit.fits,
        "tests": [
            {
                "kind": test.kind,
                "metric": test.metric,
                "twin": number_or_none(test.twin),
                "p": number_or_none(test.p),
                "p_corrected": number_or_none(test.p_corrected),
                "verdict": test.verdict,
            }
            for test in certificate.tests
        ],
    }


def main(out: Path, num: int, num_true: int, num_cpus: int, docs: Path) -> None:
    """Do the study, kind after kind in turn, and write the page."""
    halves = {kind: num if made.third == "" else (num + 1) // 2 for kind, made in KINDS.items()}
    wanted = {**halves, **dict.fromkeys(TRUE_KINDS, num_true)}
    todo = [(kind, number) for number in range(max(wanted.values())) for kind in wanted if number < wanted[kind]]
    each_cohort(one_cohort, todo, out, num_cpus)
    write_page(out, docs)


def each_cohort(
    work: Callable[[str, int, Path], None], todo: Sequence[tuple[str, int]], out: Path, num_cpus: int
) -> None:
    """Do `work(kind, number, out)` for each cohort, in processes of their own; the first error ends all."""
    with terminal.progress() as progress, ProcessPoolExecutor(num_cpus) as pool:
        bar = progress.add_task("cohorts", total=len(todo))
        for done in as_completed([pool.submit(work, kind, number, out) for kind, number in todo]):
            if (error := done.exception()) is not None:
                pool.shutdown(cancel_futures=True)
                raise error
            progress.advance(bar)


def result_of(out: Path, kind: str, number: int) -> Path:
    """Return the file of what came of a cohort."""
    return out / kind.replace(", ", "-").replace(" ", "_") / f"{number:04d}.json"


def results_in(out: Path) -> list[dict[str, Any]]:
    """Return what came of all cohorts."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*/*.json"))]


def write_page(out: Path, docs: Path) -> None:
    """Write the page about all cohorts that `out` has."""
    write_text(docs / "certificate-error-rates.md", page(results_in(out), NUM_PEOPLE, FIRST_SEED))
    terminal.out.print(f"Wrote {docs / 'certificate-error-rates.md'}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--num", type=int, default=200, help="null cohorts of each kind, half of them sparse")
    parser.add_argument("--num-true", type=int, default=60, help="cohorts with a true effect, of each kind")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    main(given.out, given.num, given.num_true, given.cpus, given.docs)
