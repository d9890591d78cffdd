"""Figures of a training and of an evaluation: losses, predictions beside observations, and where one person stands.

Shape letters: `S` subject, `R` region.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dtb.report.figures.values import first_of, last_of, range_of
from dtb.report.style import BASELINE_MARKERS, INK, PERSON_MARK, QUIET, SURFACE, canvas, or_words, to_svg


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
        ends = "; ".join(
            f"{label} from {first_of(values):.4g} to {last_of(values):.4g}" for label, values in lines.items()
        )
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
        for (label, values), marker in zip((baselines or {}).items(), BASELINE_MARKERS, strict=False):
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
        _square(axes, shown[np.isfinite(shown)])
        axes.set(xlabel=f"observed {quantity}", ylabel=f"predicted {quantity}")
        axes.set_title(title)
        if baselines:
            axes.legend(loc="best", handletextpad=0.2, borderpad=0)
        return to_svg(
            figure,
            name,
            f"{title}. Predicted against observed {quantity} for {known.sum()} {each}; observed {range_of(observed_S[known])}, "
            f"predicted {range_of(predicted_S[known])}" + (f"; in grey: {', '.join(baselines)}." if baselines else "."),
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
            marker = BASELINE_MARKERS[(row - 1) % len(BASELINE_MARKERS)]
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
            + f"; {len(known)} people {range_of(known)}.",
        )


def _square(axes: Axes, values: np.ndarray) -> None:
    """Set the same limits for both axes, and draw the identity line."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=QUIET, linewidth=1, linestyle="--", zorder=1)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
