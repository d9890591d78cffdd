"""CNP: eight people with open rest series and three tasks; the later part of each run is judged, and nobody is unseen."""

from __future__ import annotations

from parts import REPOSITORY, Figure, Work, certificate_of, held_out_figures

from dtb.results.twin import EvaluateResult

SMALLER = "Nothing: these are all who have open series."


def study(work: Work) -> dict[str, Figure]:
    """Return the set's figures."""
    config = REPOSITORY / "configs" / "cohorts" / "cnp.yaml"
    series = work.source / "derivatives" / "halfpipe"
    work.name_openly(work.folder / "run" / "shards")
    work.dtb("run", config, "run", "--input.bids", work.source, "--input.derivatives", series)
    evaluated = EvaluateResult(work.folder / "run" / "evaluate")
    work.more["certificate"] = certificate_of(evaluated.folder)
    return held_out_figures(evaluated)
