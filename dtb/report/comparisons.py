"""Figures that compare one person with their twin, each with the twin's uncertainty: arrays in, SVG out.

Shape letters: `V` volume.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from scipy import stats

from dtb.report.style import PERSON_MARK, QUIET, canvas, to_svg

_NINE_IN_TEN = (5.0, 95.0)
_SHARE_IN_BAND = 0.9
_SPREADS = 1.64  # nine in ten of a normal distribution


def rt_distribution(
    name: str,
    observed: np.ndarray,
    simulated: np.ndarray,
    session: np.ndarray,
    *,
    colour: str,
    title: str,
    bins: int = 24,
) -> Markup:
    """Draw observed reaction times as bars and simulated ones as an outline, both as densities, with a band of single sessions.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    observed, simulated : (n,), (m,) float
        Seconds; NaN for no press.
    session : (m,) int
        Which simulated session each simulated trial belongs to.
    colour : str
        Place-holder colour of the outline.
    title : str
    bins : int
        Number of bars from the shortest to the longest.
    """
    seen, is_press = observed[np.isfinite(observed)], np.isfinite(simulated)
    drawn = simulated[is_press]
    with canvas(4.4, 3.3) as (figure, axes):
        # A few very late draws must not press everything else into a corner.
        end = max(seen.max(initial=0.1), float(np.quantile(drawn, 0.99)) if len(drawn) else 0.1) * 1.05
        edges = np.linspace(min(0.0, seen.min(initial=0.0)), end, bins + 1)
        late = int((drawn > end).sum())
        axes.stairs(
            _density(seen, edges), edges, fill=True, color=QUIET, alpha=0.35, label=f"observed ({len(seen)} presses)"
        )
        sessions = np.unique(session)
        if len(sessions) > 1:
            each = np.array([_density(simulated[is_press & (session == one)], edges) for one in sessions])
            low, high = band_of_whole_curves(each, _SHARE_IN_BAND)
            label = f"{_SHARE_IN_BAND:.0%} of its sessions lie within"
            axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.25, gid="band", label=label)
        axes.stairs(
            _density(drawn, edges), edges, color=colour, linewidth=2.2, label=f"twin ({len(sessions)} sessions)"
        )
        axes.set(xlabel="reaction time (s)", ylabel="density (1/s)", xlim=(edges[0], end))
        axes.set_ylim(0, 1.4 * axes.get_ylim()[1])
        axes.set_title(title)
        axes.legend(loc="upper right")
        beyond = f" {late} draws are later than {end:.3g} s and not shown." if late else ""
        return to_svg(figure, name, f"{title}. Observed: {_summary(seen)}. Simulated: {_summary(drawn)}.{beyond}")


def band_of_whole_curves(curves: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the band that contains a share of the curves over their whole length.

    A band of pointwise percentiles would be too narrow: most curves leave it at some point. So the most extreme curves, by the rank at
    their most extreme point (then at the next, and so on), are left out, and the others span the band [1]_.

    Parameters
    ----------
    curves : (N, B) float
    share : float
        Share of the curves; at least this share lies within.

    Returns
    -------
    low, high : (B,) float

    References
    ----------
    .. [1] Myllymäki et al. 2017, J R Stat Soc B 79, 10.1111/rssb.12172: the extreme rank length.

    Examples
    --------
    >>> low, high = band_of_whole_curves(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.5], [1.5, 2.0]]), 0.75)
    >>> low.tolist(), high.tolist()
    ([1.0, 1.0], [2.0, 2.0])
    """
    from_below, from_above = (stats.rankdata(sign * curves, method="max", axis=0) for sign in (1, -1))
    rank = np.sort(np.minimum(from_below, from_above), axis=1)
    most_extreme_first = np.lexsort(rank.T[::-1])
    kept = curves[most_extreme_first[len(curves) - int(np.ceil(share * len(curves))) :]]
    return kept.min(axis=0), kept.max(axis=0)


def right_answers(
    name: str,
    observed: Mapping[str, tuple[float, int]],
    simulated: Mapping[str, np.ndarray],
    *,
    colour: str,
    title: str,
) -> Markup:
    """Draw the share of correct responses in each condition: the person's as a mark, the twin's as a mean with a bar.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    observed : mapping of str to (float, int)
        By condition, the share of correct responses and the number of trials.
    simulated : mapping of str to (sessions,) float
        By condition, the share in each simulated session.
    colour : str
        Place-holder colour of the twin.
    title : str
    """
    labels = [f"{condition} ({count})" for condition, (_, count) in observed.items()]
    words = []
    with canvas(4.4, 1.5 + 0.38 * len(labels)) as (figure, axes):
        for row, (condition, (share, _)) in enumerate(observed.items()):
            sessions = simulated[condition]
            low, high = np.percentile(sessions, _NINE_IN_TEN)
            first = row == 0
            axes.plot([low, high], [row, row], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
            axes.plot([sessions.mean()], [row], "o", color=colour, markersize=7, label="twin" if first else None)
            axes.plot([share], [row], label="this person" if first else None, zorder=4, **PERSON_MARK)
            words.append(f"{condition} {share:.0%}, twin {sessions.mean():.0%} ({low:.0%} to {high:.0%})")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.margins(x=0.08)
        axes.set_xlabel("right answers")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside lower left", ncols=2)
        return to_svg(figure, name, f"{title}, share of right answers: {'; '.join(words)}.")


def time_course(
    name: str,
    seconds_V: np.ndarray,
    observed_V: np.ndarray,
    predicted_V: np.ndarray,
    spread_V: np.ndarray | None,
    *,
    colour: str,
    title: str,
) -> Markup:
    """Draw one region's BOLD over a run, observed and predicted, both in standard deviations of the observed signal.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    seconds_V, observed_V, predicted_V : (V,) float
        NaN where absent.
    spread_V : (V,) float or None
        Standard deviation of the prediction over simulations. Without it, the band shows the errors.
    colour : str
        Place-holder colour of the prediction.
    title : str
    """
    known = observed_V[np.isfinite(observed_V)]
    middle, unit = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
    # One unit for both: a prediction that is far too small must look so.
    observed_V, told_V = ((values - middle) / (unit or 1.0) for values in (observed_V, predicted_V))
    error_V = (observed_V - told_V)[np.isfinite(observed_V - told_V)]
    error = float(np.sqrt(np.mean(error_V**2))) if len(error_V) else 0.0
    half_V = _SPREADS * (np.full_like(told_V, error) if spread_V is None else spread_V / (unit or 1.0))
    with canvas(4.4, 2.9) as (figure, axes):
        axes.fill_between(seconds_V, told_V - half_V, told_V + half_V, color=colour, alpha=0.2, linewidth=0, gid="band")
        axes.plot(seconds_V, observed_V, color=QUIET, linewidth=0.9, label="observed")
        axes.plot(seconds_V, told_V, color=colour, label="twin")
        axes.set(xlabel="time in the run (s)", ylabel="BOLD (SD of the observed)")
        axes.margins(x=0)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.22 * (high - low))
        axes.set_title(title)
        axes.legend(loc="upper right", ncols=2)
        begin, end = (seconds_V.min(), seconds_V.max()) if len(seconds_V) else (0.0, 0.0)
        return to_svg(
            figure,
            name,
            f"{title}. Observed and predicted BOLD over {begin:.3g} to {end:.3g} seconds, in standard deviations of the observed; the "
            f"prediction's own is {float(np.nan_to_num(told_V).std()):.2g}, and the band about it is "
            f"{2 * float(np.nan_to_num(half_V).mean()):.2g} wide on average.",
        )


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.asarray(np.histogram(values, edges)[0] / max(len(values), 1) / np.diff(edges))


def _summary(values: np.ndarray) -> str:
    if not len(values):
        return "no presses"
    return f"{len(values)} presses, median {np.median(values):.3g} s, range {values.min():.3g} to {values.max():.3g} s"
