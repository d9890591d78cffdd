"""The figures of the report: arrays in, SVG out, one function per figure. They read no files and do not know the page.

Each figure is one panel as wide as a phone, so that the page can set several side by side on a wide screen and below each other on a
phone without shrinking their text. Each has an alternative text with the numbers that it shows.

Shape letters: `S` subject, `R` region, `V` volume.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dtb.people.networks import OTHER, network_of
from dtb.report.style import GRID, INK, PERSON_MARK, QUIET, SURFACE, canvas, or_words, to_svg

_BASELINE_MARKERS = ("^", "s", "D", "v", "P", "X")
_MAX_PEOPLE_DRAWN = 60
_MAX_POINTS = 400
_SMALLEST_LABELLED = 0.04


@or_words
def learning_curves(
    name: str, epochs: np.ndarray, lines: Mapping[str, np.ndarray], *, title: str, quantity: str, best_epoch: int | None
) -> Markup:
    """Draw losses over epochs, with the epoch marked whose weights are used.

    Parameters
    ----------
    name : str
        Identifier of the figure, see `dtb.report.style.to_svg`.
    epochs : (n,) int
    lines : mapping of str to (n,) float
        Name and values of each line; NaN where an epoch has none. One line, or training and validation.
    title, quantity : str
        Heading, and name of the vertical axis.
    best_epoch : int or None
        The epoch whose weights were kept.
    """
    with canvas() as (figure, axes):
        styles = ((INK, "-"),) if len(lines) == 1 else ((QUIET, "--"), (INK, "-"))
        for (label, values), (colour, dash) in zip(lines.items(), styles, strict=True):
            axes.plot(
                epochs, values, color=colour, linestyle=dash, label=label, marker="o" if len(epochs) == 1 else None
            )
        if best_epoch is not None:
            axes.axvline(best_epoch, color=QUIET, linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                f"kept: {best_epoch}",
                (best_epoch, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4, -2),
                textcoords="offset points",
                ha="right" if best_epoch > epochs.mean() else "left",
                va="top",
                color=QUIET,
                fontsize=9.5,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.set_title(title)
        if len(lines) > 1:
            axes.legend(loc="best")
        ends = "; ".join(f"{label} from {_first(values):.4g} to {_last(values):.4g}" for label, values in lines.items())
        return to_svg(figure, name, f"{title}. {quantity} over {len(epochs)} epochs: {ends}.")


@or_words
def predicted_against_observed(
    name: str,
    observed_S: np.ndarray,
    predicted_S: np.ndarray,
    *,
    colour: str,
    title: str,
    quantity: str,
    each: str = "people",
    baselines: Mapping[str, np.ndarray] | None = None,
    told: Sequence[str] = (),
    links: Sequence[str | None] = (),
) -> Markup:
    """Draw one point for each person (or region), the identity line, and baselines in grey behind.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    observed_S, predicted_S : (S,) float
        Pairs with a NaN are left out.
    colour : str
        Place-holder colour of the points, see `dtb.report.style`.
    title, quantity : str
        Heading, and what both axes measure, with its unit.
    each : str
        What a point is, in the plural.
    baselines : mapping of str to (S,) float, optional
        Other predictions of the same values.
    told : sequence of str
        The name of each point, for whoever points at it.
    links : sequence of str or None
        Where each point leads.
    """
    known = np.isfinite(observed_S) & np.isfinite(predicted_S)
    with canvas(4.4, 4.2) as (figure, axes):
        for (label, values), marker in zip((baselines or {}).items(), _BASELINE_MARKERS, strict=False):
            axes.scatter(
                observed_S,
                values,
                s=20,
                marker=marker,
                facecolors="none",
                edgecolors=QUIET,
                linewidths=0.8,
                label=label,
            )
        points = axes.scatter(
            observed_S[known],
            predicted_S[known],
            s=34,
            color=colour,
            edgecolors=SURFACE,
            linewidths=0.6,
            label="twin",
            zorder=3,
            gid="points",
        )
        places = np.flatnonzero(known).tolist()
        urls = [links[place] for place in places] if len(links) else []
        if any(urls):
            points.set_urls(urls)
        titles = [
            f"{told[place]}: observed {observed_S[place]:.3g}, predicted {predicted_S[place]:.3g}"
            for place in (places if len(told) else ())
        ]
        shown = np.concatenate([observed_S[known], predicted_S[known], *(v[known] for v in (baselines or {}).values())])
        _square(axes, shown)
        axes.set(xlabel=f"observed {quantity}", ylabel=f"predicted {quantity}")
        axes.set_title(title)
        if baselines:
            axes.legend(loc="best", handletextpad=0.2, borderpad=0)
        return to_svg(
            figure,
            name,
            f"{title}. Predicted against observed {quantity} for {known.sum()} {each}; observed {_range(observed_S[known])}, "
            f"predicted {_range(predicted_S[known])}" + (f"; in grey: {', '.join(baselines)}." if baselines else "."),
            titles={"points": titles},
            are_linked=any(urls),
        )


@or_words
def estimates(
    name: str,
    twin: float | None,
    interval: tuple[float, float] | None,
    baselines: Mapping[str, float],
    *,
    colour: str,
    title: str,
    quantity: str,
    ceiling: float | None = None,
    ceiling_name: str = "ceiling",
    chance: float | None = None,
) -> Markup:
    """Draw the twin's figure with its interval above the baselines' figures, on one axis.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    twin : float or None
        The twin's figure; None where it could not be computed.
    interval : pair of float or None
        Its confidence interval.
    baselines : mapping of str to float
        The same figure for each baseline.
    colour : str
        Place-holder colour of the twin's mark.
    title, quantity : str
        Heading, and name of the axis with its unit.
    ceiling : float, optional
        Noise ceiling.
    ceiling_name : str
        Label of its line.
    chance : float, optional
        Chance level, drawn as a dotted line.
    """
    labels = ["twin", *baselines]
    with canvas(4.4, 1.25 + 0.3 * len(labels)) as (figure, axes):
        if interval is not None:
            axes.plot(interval, [0, 0], color=colour, linewidth=3, solid_capstyle="round", alpha=0.55)
        if twin is not None:
            axes.plot([twin], [0], "o", color=colour, markersize=9, gid="twin")
            axes.axvline(twin, color=colour, linewidth=0.8, linestyle=":")
        for row, value in enumerate(baselines.values(), start=1):
            marker = _BASELINE_MARKERS[(row - 1) % len(_BASELINE_MARKERS)]
            axes.plot([value], [row], marker, color=QUIET, markersize=7, mfc="none", mew=1.4, gid=f"baseline-{row}")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        lines = (("ceiling", ceiling, ceiling_name, "--"), ("chance", chance, "chance", ":"))
        for line, (gid, place, words, dash) in enumerate(lines):
            if place is not None:
                axes.axvline(place, color=INK, linewidth=1.2, linestyle=dash, gid=gid)
                axes.annotate(
                    words,
                    (place, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 1 + 11 * line),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                )
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(quantity.replace("; ", "\n"))  # in one line it may be wider than the axes, and leave the figure
        # The labels at the left take much of the width, so the title begins at the figure's edge.
        figure.suptitle("\n".join(textwrap.wrap(title, 46)), x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        others = ", ".join(f"{label} {value:.3g}" for label, value in baselines.items()) or "none"
        own = "not available" if twin is None else f"{twin:.3g}"
        bounds = "" if interval is None else f" (interval {interval[0]:.3g} to {interval[1]:.3g})"
        return to_svg(
            figure,
            name,
            f"{title}, {quantity}. Twin {own}{bounds}; baselines: {others}."
            + ("" if ceiling is None else f" {ceiling_name.capitalize()} {ceiling:.3g}.")
            + ("" if chance is None else f" Chance {chance:.3g}."),
        )


@or_words
def matrix(
    name: str, matrix_RR: np.ndarray, *, regions: Sequence[str] = (), limit: float, title: str, quantity: str
) -> Markup:
    """Draw a region-by-region matrix, blue below zero and red above; absent regions stay empty.

    Regions whose names contain networks are sorted by network; others keep their order, counted from 1.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    matrix_RR : (R, R) float
        NaN where absent.
    regions : sequence of str
        Their names, if they are known.
    limit : float
        Value of the strongest colour, either way.
    title, quantity : str
        Heading, and name of the colour scale with its unit.
    """
    names = [network_of(region) for region in regions]
    order = sorted(range(len(names)), key=lambda region: (names[region] == OTHER, names[region], region))
    networks = Counter(names[region] for region in order)
    shown_RR = matrix_RR[np.ix_(order, order)] if len(networks) > 1 else matrix_RR
    size = len(matrix_RR)
    with canvas(4.4, 3.9) as (figure, axes):
        figure.set_layout_engine("compressed", w_pad=0.1)  # for a square, which otherwise leaves no room for its labels
        axes.grid(visible=False)
        axes.set_facecolor(GRID)
        extent = (0.5, size + 0.5, size + 0.5, 0.5)
        image = axes.imshow(shown_RR, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="none", extent=extent)
        bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
        bar.set_label(quantity)
        bar.outline.set_visible(False)
        axes.set(xlabel="region", ylabel="region")
        if len(networks) > 1:
            _label_networks(axes, networks)
        axes.set_title(title)
        absent = int(np.isnan(matrix_RR).all(axis=1).sum())
        values = matrix_RR[np.isfinite(matrix_RR)]
        return to_svg(
            figure,
            name,
            f"{title}. Matrix of {size} by {size} regions, {quantity} from {_range(values)}"
            + (f"; networks in order: {', '.join(networks)}" if len(networks) > 1 else "")
            + (f"; {absent} regions are absent." if absent else "."),
        )


def _label_networks(axes: Axes, networks: Mapping[str, int]) -> None:
    """Write the networks beside their regions, with lines between them; networks that are too small have no label."""
    ends = 0.5 + np.cumsum(list(networks.values()))
    for end in ends[:-1]:
        axes.axhline(end, color=QUIET, linewidth=0.5)
        axes.axvline(end, color=QUIET, linewidth=0.5)
    named = [
        (end - count / 2, name)
        for end, (name, count) in zip(ends, networks.items(), strict=True)
        if count >= _SMALLEST_LABELLED * sum(networks.values())
    ]
    places, words = zip(*named, strict=True) if named else ((), ())
    axes.set_xticks(places, words, rotation=90, fontsize=8)
    axes.set_yticks(places, words, fontsize=8)
    axes.tick_params(length=0)
    axes.set(xlabel="regions, by network", ylabel="")


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
        medians = ", ".join(f"{label} {_median(values):.3g}" for label, values in changes.items())
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
            f"Share of the variance of latents left after own trials: median {_median(left_S):.3g} of {len(left_S)} people.",
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
    markers = iter(_BASELINE_MARKERS * (1 + len(arms) // 6))
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


@or_words
def standing(
    name: str,
    everybody_S: np.ndarray,
    observed: float,
    predicted: float,
    *,
    colour: str,
    title: str,
    quantity: str,
    reach: float = math.nan,
) -> Markup:
    """Draw everybody's value as a row of points, and mark one person's own value and their twin's.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    everybody_S : (S,) float
    observed, predicted : float
        The person's value and the twin's; NaN where unknown.
    colour : str
        Place-holder colour of the twin's mark.
    title, quantity : str
        Heading, and name of the axis with its unit.
    reach : float
        How far the band about the twin's value goes to either side; none if it is NaN.
    """
    known = everybody_S[np.isfinite(everybody_S)]
    has_band, ends = math.isfinite(reach), (predicted - reach, predicted + reach)
    with canvas(4.4, 1.75) as (figure, axes):
        heights = np.random.default_rng(0).uniform(-0.25, 0.25, len(known))
        axes.scatter(known, heights, s=14, color=QUIET, alpha=0.4, linewidths=0, label="others")
        axes.plot([observed], [0], label="this person", gid="observed", zorder=4, **PERSON_MARK)
        axes.plot([predicted], [0], "o", color=colour, markersize=8, label="their twin", gid="predicted", zorder=3)
        if has_band:
            axes.plot(ends, [0, 0], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt", gid="band", zorder=2)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks([])
        axes.set_ylim(-0.6, 1.1)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(quantity)
        axes.set_title(title)
        axes.legend(loc="upper left", ncols=3, handletextpad=0.1, columnspacing=1.0, borderpad=0)
        return to_svg(
            figure,
            name,
            f"{title}. {quantity}: this person {observed:.3g}, their twin {predicted:.3g}"
            + (f" (band {ends[0]:.3g} to {ends[1]:.3g})" if has_band else "")
            + f"; {len(known)} people {_range(known)}.",
        )


def _square(axes: Axes, values: np.ndarray) -> None:
    """Set the same limits for both axes, and draw the identity line."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=QUIET, linewidth=1, linestyle="--", zorder=1)
    axes.set(xlim=limits, ylim=limits, aspect="equal")


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _first(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known[0]) if len(known) else float("nan")


def _last(values: np.ndarray) -> float:
    return _first(values[::-1])


def _range(values: np.ndarray) -> str:
    return f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}" if np.isfinite(values).any() else "unknown"
