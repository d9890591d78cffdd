"""The end of an evaluation, or of a pool of them: figures and claim are written, the certificate is drawn up, and results are printed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtb import terminal
from dtb.config import Config
from dtb.evaluate.certificate.certificate import Certificate
from dtb.evaluate.certificate.certify import NUM_PERMUTATIONS, certify
from dtb.evaluate.certificate.conclusion import compares_connectomes
from dtb.evaluate.certificate.fit import Circumstances
from dtb.evaluate.certificate.page import reading_notes, to_html, to_markdown
from dtb.evaluate.certificate.provenance import about
from dtb.evaluate.certificate.rows import first_rows
from dtb.evaluate.certificate.verdict import verdict_of
from dtb.evaluate.certificate.wording import NAMED_METRICS, claim_in_words
from dtb.evaluate.living.stage import bold_conclusions, conclusions
from dtb.evaluate.scores.covariates import Covariates, Facts
from dtb.evaluate.scores.figure import Figure
from dtb.evaluate.scores.tables import figures_table
from dtb.files import write_json, write_text, written_whole
from dtb.people.covariates import family_numbers
from dtb.shards.split import Split
from dtb.stages import OutputFolder

FIGURES_FILE = "figures.json"


def conclude(
    folder: OutputFolder,
    config: Config,
    figures: list[Figure],
    split: Split,
    weights_BS: np.ndarray,
    described: dict[str, Any],
    people: Facts,
    circumstances: Circumstances,
    living: pd.DataFrame | None = None,
    bold: pd.DataFrame | None = None,
) -> None:
    """Write figures, claim and certificate, finish the folder, and print the results.

    Parameters
    ----------
    folder : OutputFolder
    config : Config
        `evaluate` is read.
    figures : list of Figure
    split : Split
        Its test people are those of the figures.
    weights_BS : (B, S)
        Bootstrap draws that the figures were made with.
    described : dict
        What `figures.json` says about the split.
    people : sequence of mapping
        Covariates of the test people.
    circumstances : Circumstances
        What may be why the twin does not fit, if it does not.
    living : DataFrame, optional
        What was said after so many of people's own trials (`dtb.evaluate.living.table`).
    bold : DataFrame, optional
        What was said after so many minutes of their task BOLD (`dtb.evaluate.living.bold`).
    """
    out, num_people = folder.path, len(split.test)
    living = pd.DataFrame() if living is None else living
    certificate = certify(
        figures,
        are_seen=split.tests_seen_people,
        num_people=num_people,
        weights_BS=weights_BS,
        confidence=config.evaluate.confidence,
        covariates=Covariates(**{name: tuple(value) for name, value in described["covariates"].items()}),
        num_seeds=len(described.get("seeds", [0])),
        family_S=family_numbers(people),
        circumstances=circumstances,
    )
    certificate = dataclasses.replace(certificate, about=about(described, people))
    if len(living):
        worths, tables = conclusions(living, config.evaluate.num_bootstrap, config.evaluate.confidence)
        if compares_connectomes(figures):
            certificate = dataclasses.replace(certificate, worths=tuple(worths))
        if bold is not None:
            tables |= bold_conclusions(bold, config.evaluate.num_bootstrap, config.evaluate.confidence)
        for name, table in tables.items():
            with written_whole(out / name) as temporary:
                table.to_parquet(temporary, index=False)
    decided = {(test.task, test.metric): test.verdict for test in certificate.tests if test.kind == "baseline"}
    claim = claim_in_words(split, figures, decided)
    write_json(
        out / FIGURES_FILE,
        {
            "split": described,
            "fit": certificate.fit.to_plain(),
            "claim": claim,
            "certificate": {"verdict": certificate.verdict, "sentence": certificate.sentence},
            "confidence": config.evaluate.confidence,
            "num_bootstrap": config.evaluate.num_bootstrap,
            "rows": [figure.to_plain() for figure in figures],
        },
    )
    notes = reading_notes(
        certificate,
        confidence=config.evaluate.confidence,
        num_draws=config.evaluate.num_bootstrap,
        num_permutations=NUM_PERMUTATIONS,
        edges=described.get("edge_reliability"),
    )
    rows = first_rows(certificate.tests, certificate.coverage, certificate.worths)
    in_short = [{"verdict": verdict, "cells": list(cells)} for verdict, cells in rows]
    write_json(out / "certificate.json", {**certificate.to_plain(), "rows": in_short, "notes": notes})
    folder.finish(
        {
            "num_test": num_people,
            "split": split.kind,
            "num_figures": len(figures),
            "fits": certificate.fit.fits,
            "claim": claim,
        }
    )
    for name, to_page in (("certificate.md", to_markdown), ("certificate.html", to_html)):
        with terminal.or_warn(f"{out / name} was not made"):
            write_text(out / name, to_page(certificate, notes))
    _tell(certificate, figures, out)


def _tell(certificate: Certificate, figures: list[Figure], out: Path) -> None:
    """Print the verdict, then the figures that pages show first; files have all of them, and the claim."""
    terminal.out.print(verdict_of(certificate.to_plain()).in_a_line, style="bold")
    if certificate.fit.headline is not None:
        terminal.out.print(certificate.fit.headline, style="bold red")
    terminal.out.print(certificate.sentence)
    shown = [figure for figure in figures if figure.metric in NAMED_METRICS]
    terminal.out.print(figures_table(shown))
    more = f" and {len(figures) - len(shown)} others" if len(shown) < len(figures) else ""
    terminal.out.print(f"These figures{more}, with intervals and every baseline: {out / FIGURES_FILE}")
    terminal.out.print(f"Certificate: {out / 'certificate.html'}")
