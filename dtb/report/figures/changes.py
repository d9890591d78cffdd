"""Figures of what was done with twins: indicators before and after a change, its dose, two aims at once, and what own trials make known.

Shape letters: `S` subject, `P` point.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dtb.report.figures.values import median_of
from dtb.report.style import BASELINE_MARKERS, INK, QUIET, SURFACE, canvas, or_words, to_svg

_MAX_PEOPLE_DRAWN = 60
_MAX_POINTS = 400


@or_words
def before_and_after(
    name: str,
    before_S: np.ndarray,
    after_S: np.ndarray,
    control_S: np.ndarray | None,
    *,
    colour: str,
    title: str,
    quantity: str,
    example: int | None = None,
) -> Markup:
    """Draw an arrow from each person's indicator before the change to after it, and the indicator after a random change of equal norm.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    before_S, after_S : (S,) float
    control_S : (S,) float or None
        After a random change of the same norm.
    colour : str
        Place-holder colour of the arrows.
    title, quantity : str
        Heading, and name of the axis with its unit.
    example : int, optional
        Index of the person to point out.

    Notes
    -----
    Of more than 60 people, 60 are drawn, evenly spaced by their indicator before (and the person to point out).
    """
    known = np.flatnonzero(np.isfinite(before_S) & np.isfinite(after_S))
    order = known[np.argsort(before_S[known], kind="stable")]
    if len(order) > _MAX_PEOPLE_DRAWN:
        drawn = order[np.unique(np.linspace(0, len(order) - 1, _MAX_PEOPLE_DRAWN).round().astype(int))]
        order = np.array([person for person in order if person in drawn or person == example])
    rows = np.arange(len(order))
    with canvas(4.4, 1.5 + 0.09 * max(len(order), 12)) as (figure, axes):
        axes.hlines(rows, before_S[order], after_S[order], color=colour, linewidth=1.6, alpha=0.6)
        axes.scatter(before_S[order], rows, s=16, facecolors=SURFACE, edgecolors=colour, linewidths=1.2, zorder=3)
        axes.scatter(after_S[order], rows, s=20, color=colour, zorder=4)
        handles = [
            Line2D([], [], marker="o", color=colour, markerfacecolor=SURFACE, linestyle="", label="before"),
            Line2D([], [], marker="o", color=colour, linestyle="", label="after"),
        ]
        if control_S is not None:
            axes.scatter(control_S[order], rows, s=26, marker="|", color=INK, linewidths=1.3, zorder=5)
            handles.append(Line2D([], [], marker="|", color=INK, linestyle="", label="after a random change"))
        if example is not None and example in order:
            axes.annotate(
                "example",
                (max(before_S[example], after_S[example]), int(np.flatnonzero(order == example)[0])),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=quantity, ylabel="people, by their value before", ylim=(-1, max(len(order), 1)))
        axes.margins(x=0.08)
        axes.set_title(title, pad=24)
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(-0.06, 1.0),
            ncols=3,
            columnspacing=1.0,
            handletextpad=0.1,
        )
        control = (
            "" if control_S is None else f"; after a random change of equal norm {np.nanmedian(control_S[known]):.3g}"
        )
        medians = (
            f"{np.median(before_S[known]):.3g} before, {np.median(after_S[known]):.3g} after" if len(known) else "none"
        )
        return to_svg(figure, name, f"{title}. {quantity} of {len(known)} people, medians: {medians}{control}.")


@or_words
def effects(name: str, changes: Mapping[str, np.ndarray], *, colour: str, title: str, quantity: str) -> Markup:
    """Draw the effect of several kinds of change on each person: a row of points for each kind, its median as a line.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    changes : mapping of str to (S,) float
        Each way's name and its changes; the first is drawn in colour, the others are its controls.
    colour : str
        Place-holder colour of the first.
    title, quantity : str
        Heading, and name of the axis with its unit.
    """
    with canvas(4.4, 1.3 + 0.55 * len(changes)) as (figure, axes):
        spread = np.random.default_rng(0)
        for row, values in enumerate(changes.values()):
            known = values[np.isfinite(values)]
            shown = known if len(known) <= _MAX_POINTS else spread.choice(known, _MAX_POINTS, replace=False)
            tint = colour if row == 0 else QUIET
            heights = row + spread.uniform(-0.22, 0.22, len(shown))
            axes.scatter(shown, heights, s=12, color=tint, alpha=0.55, linewidths=0, gid=f"change-{row}")
            if len(known):
                axes.plot([np.median(known)] * 2, [row - 0.34, row + 0.34], color=INK, linewidth=2)
        axes.axvline(0, color=QUIET, linewidth=1, linestyle="--")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_yticks(range(len(changes)), ["\n".join(textwrap.wrap(label, 20)) for label in changes])
        axes.set_ylim(len(changes) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.set_xlabel(quantity)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        medians = ", ".join(f"{label} {median_of(values):.3g}" for label, values in changes.items())
        return to_svg(figure, name, f"{title}, {quantity}. Medians over people: {medians}.")


@or_words
def variance_left(name: str, trials_S: np.ndarray, left_S: np.ndarray) -> Markup:
    """Draw how much of the variance of people's latents their own trials leave.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    trials_S : (S,) int
        Trials that each person's twin was updated on.
    left_S : (S,) float
        Share of the variance before any own data, 0 to 1.
    """
    with canvas(4.4, 3.0) as (figure, axes):
        axes.scatter(trials_S, left_S, s=14, color=INK, alpha=0.55, linewidths=0)
        axes.axhline(1.0, color=QUIET, linewidth=1, linestyle="--")
        axes.set_ylim(0.0, 1.05)
        axes.set_xlim(left=min(0.0, float(np.min(trials_S, initial=0.0))))
        axes.set_xlabel("own trials")
        axes.set_ylabel("variance left")
        figure.suptitle("What own trials leave unknown", x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        return to_svg(
            figure,
            name,
            f"Share of the variance of latents left after own trials: median {median_of(left_S):.3g} of {len(left_S)} people.",
        )


@or_words
def dose_response(name: str, arms: Mapping[str, np.ndarray], *, primary: str, colour: str, title: str) -> Markup:
    """Draw how each arm's effect grows with the dose, with its interval.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    arms : mapping of str to (doses, 4) float
        Dose, effect, and the lower and upper end of its interval.
    primary : str
        The arm that is drawn in colour.
    colour : str
        Place-holder colour of that arm.
    title : str
    """
    words = []
    dashes = iter(["--", ":", "-.", (0, (5, 1)), (0, (1, 3)), (0, (3, 1, 1, 1))] * (1 + len(arms) // 6))
    markers = iter(BASELINE_MARKERS * (1 + len(arms) // 6))
    with canvas(4.4, 3.9) as (figure, axes):
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for arm, values in arms.items():
            dose, effect, lower, upper = np.vstack([np.zeros(4), values]).T
            own = arm == primary
            tint = colour if own else QUIET
            axes.fill_between(dose, lower, upper, color=tint, alpha=0.2 if own else 0.14, linewidth=0)
            style = {"linestyle": "-", "marker": "o"} if own else {"linestyle": next(dashes), "marker": next(markers)}
            axes.plot(dose, effect, color=tint, markersize=5, label=arm, zorder=3 if own else 2, **style)
            words.append(f"{arm} {effect[-1]:.2g} ({lower[-1]:.2g} to {upper[-1]:.2g})")
        axes.set(xlabel="dose (share of the full change)", ylabel="effect (SD between people)")
        axes.margins(x=0.02)
        figure.suptitle("\n".join(textwrap.wrap(title, 46)), x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
        return to_svg(figure, name, f"{title}. At the full dose, effects with their intervals: {'; '.join(words)}.")


@or_words
def front(name: str, gain_P2: np.ndarray, on_front_P: np.ndarray, share_P: np.ndarray, *, colour: str) -> Markup:
    """Draw the gains of two aims for each share of the second, and the line through those that no other beats in both.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    gain_P2 : (P, 2) float
        Gains of the first and of the second aim, in standard deviations between people.
    on_front_P : (P,) bool
        Whether no other point is better in both.
    share_P : (P,) float
        Share of the second aim.
    colour : str
        Place-holder colour.
    """
    with canvas(4.4, 3.6) as (figure, axes):
        along = np.flatnonzero(on_front_P)[np.argsort(gain_P2[on_front_P, 0], kind="stable")]
        axes.plot(gain_P2[along, 0], gain_P2[along, 1], color=colour, marker="o", label="no other betters both")
        aside = gain_P2[~on_front_P]
        axes.plot(aside[:, 0], aside[:, 1], "o", color=QUIET, mfc="none", linestyle="", label="bettered in both")
        for gains, share in zip(gain_P2, share_P, strict=True):
            axes.annotate(f"{share:.0%}", gains, xytext=(5, 5), textcoords="offset points", fontsize=9)
        axes.set(xlabel="gain of the first aim (SD)", ylabel="gain of the second aim (SD)")
        axes.margins(0.14)
        figure.suptitle("Two aims", x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside lower left", ncols=2)
        words = "; ".join(
            f"{share:.0%}: {one:.2g} and {other:.2g}" for share, (one, other) in zip(share_P, gain_P2, strict=True)
        )
        return to_svg(figure, name, f"Two aims. Gains of the first and the second by share of the second: {words}.")
