"""The certificate as a page to read: Markdown for repositories, HTML that stands alone for everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dtb.evaluate.certificate import provenance
from dtb.evaluate.certificate.certificate import QUESTIONS, Certificate, CertificateTest, Reached
from dtb.evaluate.certificate.comparisons import POWER
from dtb.evaluate.certificate.fit import TOLERATED
from dtb.evaluate.certificate.rows import first_rows
from dtb.evaluate.certificate.table import HEADINGS, NUMBERS, ROW_HEADINGS, ROW_NUMBERS, cells, number
from dtb.evaluate.certificate.verdict import verdict_of
from dtb.evaluate.certificate.wording import FEWEST_FOR_A_CLAIM, SEEDS_FOR_A_CLAIM
from dtb.evaluate.predictors.table import predictor_heading
from dtb.evaluate.scores.figure import TWIN, number_or_none
from dtb.pages.render import PageLink, render

PAGE = "certificate.html"
_FOLDED = frozenset({"figure", "of what is possible", "best baseline", "people", "what would decide"})
"""Columns that a page folds behind each test, so that the rest fits on a screen."""
DISCLAIMER = "Research use: the outputs are hypotheses about a model, no medical advice."
BEHIND = "Every test, what was not tested, how to read it, and every figure"
APPENDIX = "Every figure, with every baseline that was computed"


def to_markdown(certificate: Certificate, notes: list[str]) -> str:
    """Return the certificate as Markdown.

    Parameters
    ----------
    certificate : Certificate
    notes : list of str
        From `reading_notes`.
    """
    lines = ["# Is this twin personal?", ""]
    if certificate.fit.headline is not None:
        lines = ["# The twin does not fit", "", f"**{certificate.fit.headline}**", "", "## Is this twin personal?", ""]
    lines += [f"**{certificate.verdict.capitalize()}.** {certificate.sentence}", ""]
    if rows := first_rows(certificate.tests, certificate.coverage, certificate.worths):
        lines += [*_markdown_table([ROW_HEADINGS, *(row for _, row in rows)]), ""]
    lines += ["<details>", f"<summary>{BEHIND}</summary>", ""]
    if certificate.about:
        lines += [*(f"- {heading}: {words}" for heading, words in provenance.in_words(certificate.about)), ""]
    if certificate.tests:
        lines += _markdown_table([HEADINGS, *(cells(test.to_plain()) for test in certificate.tests)])
    if certificate.not_tested:
        lines += ["", "## Not tested", "", *(f"- {line}" for line in certificate.not_tested)]
    lines += ["", "## How to read this", "", *(f"{line}\n" for line in notes)]
    if certificate.figures:
        lines += [f"## {APPENDIX}", "", *_markdown_table(_appendix(certificate))]
    return "\n".join([*lines, "", "</details>", "", DISCLAIMER]) + "\n"


def to_html(certificate: Certificate, notes: list[str]) -> str:
    """Return the certificate as one HTML page that needs nothing else; parameters as in `to_markdown`."""
    groups = [
        (question, [(*_cells(test), test) for test in certificate.tests if test.kind == kind])
        for kind, question in QUESTIONS.items()
    ]
    groups = [group for group in groups if group[1]]
    people = certificate.about.get("people")
    return render(
        "certificate",
        links=[PageLink("Certificate", PAGE)],
        here=PAGE,
        verdict=verdict_of(certificate.to_plain()),
        whom=provenance.whom_in_words(people) if people else "",
        certificate=certificate,
        headline=certificate.fit.headline,
        rows=first_rows(certificate.tests, certificate.coverage, certificate.worths),
        row_headings=ROW_HEADINGS,
        row_numbers=ROW_NUMBERS,
        groups=groups,
        headings=[heading for heading in HEADINGS if heading not in _FOLDED],
        numbers=NUMBERS,
        notes=notes,
        about=provenance.in_words(certificate.about) if certificate.about else [],
        figures=[_figure(reached) for reached in certificate.figures],
    )


def _cells(test: CertificateTest) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the cells of a test's row, and what is folded behind it, with headings."""
    told = dict(zip(HEADINGS, cells(test.to_plain()), strict=True))
    return (
        [text for heading, text in told.items() if heading not in _FOLDED],
        [(heading, text) for heading, text in told.items() if heading in _FOLDED and text not in {"", "–"}],
    )


def _figure(reached: Reached) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Return task, figure, what the twin reaches, and what each baseline that has it does."""
    values = {name: number_or_none(value) for name, value in reached.values.items()}
    others = [
        (predictor_heading(name), number(value)) for name, value in values.items() if value is not None and name != TWIN
    ]
    return reached.task, reached.metric, number(values.get(TWIN)), others


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def _appendix(certificate: Certificate) -> list[Sequence[str]]:
    """Lay out every figure, one a row, with a column for each predictor; nothing without figures."""
    if not certificate.figures:
        return []
    names = list(dict.fromkeys([TWIN, *(name for figure in certificate.figures for name in figure.values)]))
    return [
        ["task", "figure", *(predictor_heading(name) for name in names)],
        *(
            [figure.task, figure.metric, *(number(number_or_none(figure.values.get(name, math.nan))) for name in names)]
            for figure in certificate.figures
        ),
    ]


def reading_notes(
    certificate: Certificate,
    *,
    confidence: float,
    num_draws: int,
    num_permutations: int,
    edges: Mapping[str, float] | None = None,
) -> list[str]:
    """Return how the certificate was made, from what was done for it; `edges` is from `dtb.evaluate.scores.ceilings.edge_reliability`."""
    rest = "Nobody had two rest runs, so that it is not known how much of a connectome another scan would confirm."
    if edges is not None:
        rest = (
            f"Of {edges['num_people']:.0f} people there are two rest runs or more: the median edge of one run has a test-retest "
            f"reliability (intraclass correlation) of {edges['median_icc']:.2f}, which bounds what any connectome can tell."
        )
    schemes = sorted({test.scheme for test in certificate.tests})
    covariates = certificate.covariates
    beyond = f" beyond {covariates.in_words}" if covariates.known else ""
    taken_out = (
        f"In a partial r, {covariates.in_words} are taken out of what is observed and of what is predicted, among the people tested: "
        "numbers by a restricted cubic spline of four knots, labels by one column each. Its p comes from dealing the residuals of what is "
        "observed to people at random (Freedman and Lane 1983)."
        if covariates.known
        else "No covariate is known of enough people to be taken out."
    )
    tasks = certificate.about.get("stimuli_depend_on_responses", [])
    adaptive = [
        f"In {', '.join(tasks)}, what is shown depends on what the person did before, so that stimuli say something of the person without "
        "any connectome: only what strangers' connectomes do not reach as well is the person's."
    ] * bool(tasks)
    living = [
        "What a connectome adds to own trials is the difference of two predictions of people's later mean reaction times (CRPS): by the "
        "twin that was updated by people's first trials, from their connectomes and without them. A scan is worth the number of trials "
        "that bring the twin without connectomes to where the one with them is before any trial; 0 where they make nothing better. "
        "Neither is a test."
    ] * bool(certificate.worths)
    return [
        "Before anything is claimed, the twin must fit: at log-loss and CRPS of each task it may not be worse, on held-out data, than the "
        f"group mean; worse means that the {confidence:.0%} interval over people of the difference leaves out 0, and that the "
        f"difference is more than {TOLERATED:.0%} of the group mean's loss.",
        f"Log-loss and CRPS are losses, better when lower; all others are better when higher. A gain is positive where the twin is better; "
        f"brackets hold its {confidence:.0%} percentile interval over {num_draws:,} bootstrap "
        "draws of people, of a partial r over what covariates leave, widened for the freedom that these cost. p is one-sided "
        f"({', '.join(schemes) or 'no test'}; {num_permutations:,} permutations) and corrected for the {len(certificate.tests)} tests of "
        "this page (Holm).",
        f"'Yes' means p below {1 - confidence:.2g}; 'no' means that the twin is no better, by the interval, corrected "
        "for the same tests; what is identical takes no place among them; everything between is undecided. The last column then says how "
        f"many people would decide it with a power of {POWER:.0%} if the gain stays as it is, all tests of "
        "this page being made again; or, where no gain is seen, how large a one these people would have shown (four times as many "
        "would show one of half that). 'With twice the trials' follows from how well halves of them agree (Spearman and Brown). "
        f"Nothing is 'yes' of fewer than {FEWEST_FOR_A_CLAIM} people. The best baseline is the one that predicts training people best, "
        "each from others; where they cannot tell, the best on these same people, which favours the baselines.",
        "The word 'personal' asks for two things, both in one task, in people who were not seen in training: that their connectomes are of "
        "use to the twin (against the same twin given strangers' connectomes), and that something it says of each person holds"
        f"{beyond}, better than from strangers' connectomes. With fewer than {SEEDS_FOR_A_CLAIM} trainings the word is "
        "'provisional'.",
        f"{taken_out} Whatever is no smooth function of each covariate by itself, as an effect of age that differs between the sexes, "
        "stays in. What the own connectome adds to strangers' is tested in the same way, on the difference of the two predictions. "
        "Of BOLD maps, covariates are taken out region by region over people, and signs are flipped person by person, with the variance "
        "that taking them out costs made up for (Hemerik et al. 2020).",
        "A band that claims to hold a share of unseen people is as wide as the errors on validation people ask for. Its row says 'yes' "
        "where, at each of the three levels, the exact 95% interval of the share that it holds includes what it claims. It is no test, "
        "and takes no place among them.",
        *living,
        *adaptive,
        "'Of what is possible' is the twin's share of its ceiling: how far people's own halves or runs agree, or what the truth of a "
        "ground-truth cohort allows, and never more than all of it. What a person's own other half of the trials reaches bounds nothing, "
        f"so that nothing is a share of it. Identification and own minus others have no known ceiling. {rest}",
    ]
