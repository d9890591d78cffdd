"""The figures of one person's twin beside the person, each with the twin's own uncertainty: arrays in, SVG out.

Shape letters: `V` volume.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from dtb.report.style import INK, QUIET, canvas, to_svg

_NINE_IN_TEN = (5.0, 95.0)
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
        How many bars from the shortest to the longest.
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
            low, high = np.percentile(each, _NINE_IN_TEN, axis=0)
            axes.stairs(
                high, edges, baseline=low, fill=True, color=colour, alpha=0.25, gid="band", label="90% of its sessions"
            )
        axes.stairs(
            _density(drawn, edges), edges, color=colour, linewidth=2.2, label=f"twin ({len(sessions)} sessions)"
        )
        axes.set(xlabel="reaction time (s)", ylabel="density (1/s)", xlim=(edges[0], end))
        axes.set_ylim(0, 1.4 * axes.get_ylim()[1])
        axes.set_title(title)
        axes.legend(loc="upper right")
        beyond = f" {late} draws are later than {end:.3g} s and not shown." if late else ""
        return to_svg(figure, name, f"{title}. Observed: {_summary(seen)}. Simulated: {_summary(drawn)}.{beyond}")


def right_answers(
    name: str,
    observed: Mapping[str, tuple[float, int]],
    simulated: Mapping[str, np.ndarray],
    *,
    colour: str,
    title: str,
) -> Markup:
    """Draw the share of right answers in each condition: the person's as a mark, the twin's as a mean with a bar.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    observed : mapping of str to (float, int)
        By condition, the share of right answers and of how many trials.
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
            axes.plot([sessions.mean()], [row], "o", color=colour, markersize=8, label="twin" if first else None)
            axes.plot([share], [row], "D", color=INK, markersize=7, label="this person" if first else None, zorder=4)
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
    """Draw one region's BOLD over a run, observed and predicted, both in their own standard deviations.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    seconds_V, observed_V, predicted_V : (V,) float
        NaN where absent.
    spread_V : (V,) float or None
        Standard deviation of the prediction over performances. Without it, the band is that of the residuals.
    colour : str
        Place-holder colour of the prediction.
    title : str
    """
    observed_V, told_V = _standard(observed_V), _standard(predicted_V)
    left_V = (observed_V - told_V)[np.isfinite(observed_V - told_V)]
    residual = float(left_V.std()) if len(left_V) else 0.0
    unit = float(np.nan_to_num(predicted_V).std()) or 1.0
    half_V = _SPREADS * (np.full_like(told_V, residual) if spread_V is None else spread_V / unit)
    with canvas(4.4, 2.9) as (figure, axes):
        axes.fill_between(seconds_V, told_V - half_V, told_V + half_V, color=colour, alpha=0.2, linewidth=0, gid="band")
        axes.plot(seconds_V, observed_V, color=QUIET, linewidth=0.9, label="observed")
        axes.plot(seconds_V, told_V, color=colour, label="twin")
        axes.set(xlabel="time in the run (s)", ylabel="BOLD (SD)")
        axes.margins(x=0)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.22 * (high - low))
        axes.set_title(title)
        axes.legend(loc="upper right", ncols=2)
        begin, end = (seconds_V.min(), seconds_V.max()) if len(seconds_V) else (0.0, 0.0)
        return to_svg(
            figure,
            name,
            f"{title}. Observed and predicted BOLD over {begin:.3g} to {end:.3g} seconds, in standard deviations; the band about the "
            f"prediction is {2 * float(np.nan_to_num(half_V).mean()):.2g} wide on average.",
        )


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.asarray(np.histogram(values, edges)[0] / max(len(values), 1) / np.diff(edges))


def _standard(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    spread = values[known].std() if known.any() else 0.0
    return (values - values[known].mean()) / spread if spread else values * 0.0


def _summary(values: np.ndarray) -> str:
    if not len(values):
        return "no presses"
    return f"{len(values)} presses, median {np.median(values):.3g} s, range {values.min():.3g} to {values.max():.3g} s"
