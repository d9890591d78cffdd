"""The example person's BOLD data: the carpet plot of a run and the design matrix of its events, drawn by nilearn.

Shape letters: `V` volume, `R` region.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import nibabel
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from dtb.people.glm import condition_events, design_matrix
from dtb.people.networks import network_of, tell_networks
from dtb.people.records import Run
from dtb.report.collected import Collected, Missing
from dtb.report.parts import Panel, Section, conditions_of
from dtb.report.style import canvas, or_words, to_svg


def scan_section(found: Collected, pseudonym: str | None, tasks: Mapping[str, str]) -> Section:
    """Return the section on the first run of each task with BOLD."""
    section = Section("scan", "What the scanner saw" + (f" of {pseudonym}" if pseudonym else ""))
    if isinstance(found.people, Missing) or pseudonym is None:
        reason = found.people.reason if isinstance(found.people, Missing) else "There is nobody to show."
        return dataclasses.replace(section, missing=[reason])
    try:
        record = found.people.cohort.record(pseudonym)
    except (OSError, ValueError) as error:
        return dataclasses.replace(section, missing=[f"The runs of {pseudonym} cannot be read: {error}"])
    description = found.people.manifest.description
    panels: list[Panel] = []
    for place, task in enumerate(tasks):
        run = next((run for run in record.runs if run.task == task and run.bold_VR is not None), None)
        if run is None or run.bold_VR is None or run.repetition_time is None:
            continue
        svg = carpet(f"carpet-{place}", run.bold_VR, run.repetition_time, description.regions, title=f"{task}: carpet")
        words = f"{run.label}: a row a region, in its own SD. Stripes across all rows tell of motion or breathing."
        panels.append(Panel(svg, words, new_row=True))
        panels += _design_panels(place, task, run, conditions_of(found.people, task))
    missing = [] if panels else [f"{pseudonym} has no task BOLD, so there is no carpet plot and no design matrix."]
    return dataclasses.replace(section, panels=panels, missing=missing)


def _design_panels(place: int, task: str, run: Run, conditions: tuple[str, ...]) -> list[Panel]:
    known_J = run.trials.condition_J
    if run.bold_VR is None or run.repetition_time is None or not len(known_J) or known_J.max() >= len(conditions):
        return []
    design = design_matrix(condition_events(run, conditions), run.volume_seconds_V)
    caption = "Each condition convolved with the haemodynamic response, derivatives, and slow drifts; time goes down."
    return [Panel(design_figure(f"design-{place}", design, title=f"{task}: design matrix"), caption)]


@or_words
def carpet(name: str, bold_VR: np.ndarray, repetition_time: float, regions: Sequence[str], *, title: str) -> Markup:
    """Draw the signals of all regions over a run with nilearn's carpet plot.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    bold_VR : (V, R) float
        NaN where a volume or a region is absent.
    repetition_time : float
        Seconds.
    regions : sequence of str
        Names, by whose networks the rows are ordered.
    title : str
    """
    from nilearn.plotting import plot_carpet

    order = sorted(range(len(regions)), key=lambda region: network_of(regions[region]))
    present_R = np.isfinite(bold_VR).any(axis=0)
    shown_VR = bold_VR[:, [region for region in order if present_R[region]]].astype(float)
    filled_VR = np.where(np.isfinite(shown_VR), shown_VR, np.nanmean(shown_VR, axis=0))
    # Regions in place of voxels: an image of R x 1 x 1 voxels, all within the mask.
    image = nibabel.Nifti1Image(filled_VR.T[:, None, None, :].astype(np.float32), np.eye(4))
    mask = nibabel.Nifti1Image(np.ones(image.shape[:3], dtype=np.int8), np.eye(4))
    with canvas(4.4, 3.3) as (figure, axes):
        plot_carpet(image, mask_img=mask, t_r=repetition_time, axes=axes, standardize="zscore_sample")
        axes.grid(visible=False)
        # Seconds in place of columns, whatever nilearn left out of a long run; and every column in the file, however small it is drawn.
        axes.images[0].set(extent=(0.0, repetition_time * len(bold_VR), shown_VR.shape[1], 0.0), interpolation="none")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylabel("regions, by network" if tell_networks(regions) else "regions")
        axes.set_title(title)
        left_out = int((~np.isfinite(bold_VR[:, present_R])).all(axis=1).sum())
        return to_svg(
            figure,
            name,
            f"{title}. Signals of {present_R.sum()} regions over {len(bold_VR)} volumes of {repetition_time:g} s as shades of grey; "
            f"{left_out} volumes were left out.",
        )


@or_words
def design_figure(name: str, design: pd.DataFrame, *, title: str) -> Markup:
    """Draw a design matrix as nilearn does, the drifts without names.

    Parameters
    ----------
    name : str
        Identifier of the figure.
    design : DataFrame
        A row a volume.
    title : str
    """
    from nilearn.plotting import plot_design_matrix

    with canvas(4.4, 3.9) as (figure, axes):
        plot_design_matrix(design, axes=axes)
        axes.images[0].set(cmap="gray", interpolation="none")
        axes.grid(visible=False)
        named = [str(column) for column in design.columns]
        axes.set_xticklabels(["" if column.startswith("drift") else column for column in named])
        axes.set_ylabel("volume")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        shown = ", ".join(column for column in named if not column.startswith("drift"))
        num_drifts = sum(column.startswith("drift") for column in named)
        return to_svg(figure, name, f"{title}: {len(design)} volumes; regressors {shown}; {num_drifts} slow drifts.")
