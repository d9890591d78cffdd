"""The certificate as a page to read: Markdown for repositories, HTML that stands alone for everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jinja2

from dtb.evaluate.certificate import POWER, QUESTIONS, Certificate, Test

DISCLAIMER = "Research use: the outputs are hypotheses about a model, no medical advice."
HEADINGS = (
    "claim",
    "task",
    "figure",
    "twin",
    "of what is possible",
    "compared with",
    "gain",
    "n",
    "p",
    "verdict",
    "what would decide",
)

_HTML = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Certificate</title>
<style>
:root { color-scheme: light dark; background: Canvas; color: CanvasText; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
.sentence { font-size: 1.25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
th.question { padding-top: 1.2rem; font-size: 1rem; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.yes { font-weight: bold; color: #00795a; } .no { font-weight: bold; color: #b3261e; } .undecided { color: #7a6200; }
@media (prefers-color-scheme: dark) { .yes { color: #4fd1a5; } .no { color: #ff8a80; } .undecided { color: #e0c060; } }
</style>
</head>
<body>
<h1>Is this twin personal?</h1>
<p class="sentence"><span class="{{ certificate.verdict }}">{{ certificate.verdict|capitalize }}.</span> {{ certificate.sentence }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="The certificate"><table>
<thead><tr>{% for heading in headings %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for question, rows in groups %}<tr><th scope="colgroup" colspan="{{ headings|length }}" class="question">{{ question }}</th></tr>
{% for cells, test in rows %}<tr>
{% for cell in cells[:3] %}<td>{{ cell }}</td>{% endfor %}
{% for cell in cells[3:5] %}<td class="number">{{ cell }}</td>{% endfor %}
<td>{{ cells[5] }}</td>
{% for cell in cells[6:9] %}<td class="number">{{ cell }}</td>{% endfor %}
<td class="{{ test.verdict }}">{{ cells[9] }}</td><td>{{ cells[10] }}</td></tr>
{% endfor %}{% endfor %}</tbody>
</table></div>
{% if certificate.not_tested %}<h2>Not tested</h2>
<ul>{% for line in certificate.not_tested %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
<h2>How to read this</h2>
{% for line in notes %}<p>{{ line }}</p>{% endfor %}
</body>
</html>
"""
)


def to_markdown(certificate: Certificate, notes: list[str]) -> str:
    """Give the certificate as Markdown.

    Parameters
    ----------
    certificate : Certificate
    notes : list of str
        From `reading_notes`.
    """
    lines = ["# Is this twin personal?", "", f"**{certificate.verdict.capitalize()}.** {certificate.sentence}", ""]
    if certificate.tests:
        lines += [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
        lines += [f"| {' | '.join(_cells(test))} |" for test in certificate.tests]
    if certificate.not_tested:
        lines += ["", "## Not tested", "", *(f"- {line}" for line in certificate.not_tested)]
    lines += ["", "## How to read this", "", *(f"{line}\n" for line in notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_html(certificate: Certificate, notes: list[str]) -> str:
    """Give the certificate as one HTML page that needs nothing else; parameters as in `to_markdown`."""
    groups = [
        (question, [(_cells(test), test) for test in certificate.tests if test.kind == kind])
        for kind, question in QUESTIONS.items()
    ]
    groups = [group for group in groups if group[1]]
    return _HTML.render(certificate=certificate, groups=groups, headings=HEADINGS, notes=notes)


def reading_notes(
    certificate: Certificate,
    *,
    confidence: float,
    num_draws: int,
    num_permutations: int,
    edges: Mapping[str, float] | None = None,
) -> list[str]:
    """Say how the certificate was made, from what was done for it; `edges` is from `dtb.evaluate.ceilings.edge_reliability`."""
    rest = "Nobody had two rest runs, so that it is not known how much of a connectome another scan would confirm."
    if edges is not None:
        rest = (
            f"Of {edges['num_people']:.0f} people there are two rest runs or more: the median edge of one run has a test-retest "
            f"reliability (intraclass correlation) of {edges['median_icc']:.2f}, which bounds what any connectome can tell."
        )
    schemes = sorted({test.scheme for test in certificate.tests})
    return [
        f"Log-loss and CRPS are losses, better when lower; all others are better when higher. A gain is positive where the twin is better; "
        f"brackets hold its {confidence:.0%} percentile interval over {num_draws:,} bootstrap "
        f"draws of people. p is one-sided ({', '.join(schemes) or 'no test'}; {num_permutations:,} permutations) and corrected for the "
        f"{len(certificate.tests)} tests of this page (Holm).",
        f"'Yes' means p below {1 - confidence:.2g}; 'no' means that the twin is no better, by the whole interval; everything between is "
        f"undecided. The last column then says how many people would decide it with a power of {POWER:.0%} if the gain stays as it is, all "
        "tests of this page being made again; or, where no gain is seen, how large a one these people would have shown (four times as many "
        "would show one of half that). The best baseline is chosen on these same people, which favours the baselines.",
        "The word 'personal' asks for two things in people who were not seen in training: that their connectomes are of use to the twin "
        "(against the same twin given strangers' connectomes), and that something it says of each person holds beyond age, sex, site "
        "and motion.",
        "'Of what is possible' is the twin's share of its ceiling: how far people's own halves or runs agree, or what the truth of a "
        "ground-truth cohort allows; of a score that is better when lower, the share of the way from the group mean to what a person's own "
        f"other half of the trials reaches. {rest}",
        DISCLAIMER,
    ]


def _cells(test: Test) -> list[str]:
    against = test.against
    if test.against_value is not None and test.against_value != 0 and math.isfinite(test.against_value):
        against += f": {test.against_value:.3f}"
    interval = f" [{test.gain.lower:.3f}, {test.gain.upper:.3f}]" if math.isfinite(test.gain.lower) else ""
    return [
        test.claim,
        test.task,
        test.metric,
        _number(test.twin),
        "–" if test.share is None else f"{test.share:.0%}",
        against,
        _number(test.gain.value, "+") + interval,
        str(test.gain.num_people),
        _p(test.p_corrected),
        test.verdict,
        test.needs,
    ]


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else "–"


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"
