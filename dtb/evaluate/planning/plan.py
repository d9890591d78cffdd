"""``dtb plan``: how many people, scan minutes and trials a personal twin needs, as a table, a sentence and a picture."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from rich.table import Table

from dtb import terminal
from dtb.config import Config, PlanConfig, sections
from dtb.evaluate.planning.power import Outcome, largest, make_study, outcome, settings, strength_of, tasks_of
from dtb.evaluate.planning.verdict import Verdict
from dtb.files import write_json, written_whole
from dtb.stages import StageCall

CLAIMS = {"mean_rt": "people's mean reaction times", "condition_rt": "people's condition effects"}
COLOURS = ("#0072b2", "#c2500a", "#00795a", "#a8488a", "#2f84b5", "#94690a")


def plan(config: Config, out: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Find out what a claim needs.

    Parameters
    ----------
    config : Config
        `seed`, `plan` and, for the people, `synth` are read (without its numbers of people, rest and runs, which the plan varies, and
        with a `size` without `trait_strength`, which that decides).
    out : Path
        Folder for `plan.json` and `plan.png`.
    resume : bool
        Accept a folder that an interrupted call with the same settings left.
    dry_run : bool
        Say what would be done, without doing it.

    Raises
    ------
    OutputInUseError
        The output folder is in use.
    ConfigurationError
        The claim's size cannot be reached.
    """
    chosen = settings(config.plan)
    planned = (
        f"Would make {config.plan.num_cohorts} cohorts of {max(config.plan.people)} people, try {len(chosen)} settings, "
        f"and write to {out}."
    )
    call = StageCall("plan", out, sections(config, "seed", "plan", "synth"), resume=resume, dry_run=dry_run)
    if call.ends_early(lambda: terminal.out.print(planned)):
        return
    folder = call.claim()
    synth, size = config.synth, config.plan.size
    if size is not None:
        with terminal.progress() as progress:
            followed = functools.partial(progress.track, description="effects of this size")
            strength = strength_of(size, config.plan, synth, config.seed, followed)
        synth = dataclasses.replace(synth, trait_strength=strength)
    found: dict[int, list[Verdict]] = {place: [] for place in range(len(chosen))}
    with terminal.progress() as progress:
        bar = progress.add_task("certificates", total=config.plan.num_cohorts * len(chosen))
        for cohort in range(config.plan.num_cohorts):
            study = make_study(config.plan, synth, config.seed * 100_003 + cohort)
            for place, setting in enumerate(chosen):
                found[place].append(study.verdict(setting, config.plan))
                progress.advance(bar)
    outcomes = [outcome(setting, found[place]) for place, setting in enumerate(chosen)]
    sentence = in_words(outcomes, config.plan)
    about = {"claim": config.plan.claim, "size": size, "trait_strength": synth.trait_strength}
    rows = [{**dataclasses.asdict(each.setting), **_figures(each)} for each in outcomes]
    write_json(out / "plan.json", {**about, "sentence": sentence, "rows": rows})
    with written_whole(out / "plan.png") as temporary:
        FigureCanvasAgg(draw(rows, config.plan.power)).print_png(temporary)
    folder.finish({"sentence": sentence})
    terminal.out.print(_table(outcomes))
    terminal.out.print(sentence)


def in_words(outcomes: list[Outcome], config: PlanConfig) -> str:
    """Return how many people the claim needs, for each length of rest and each number of trials, the other at its middle, and at what r."""
    minutes = sorted(config.rest_minutes)[len(config.rest_minutes) // 2]
    trials = sorted(config.trials)[len(config.trials) // 2]

    def enough(minutes: float, trials: int) -> str:
        rows = [each for each in outcomes if (each.setting.rest_minutes, each.setting.trials) == (minutes, trials)]
        people = [each.setting.people for each in rows if each.power >= config.power]
        return f"{min(people)}" if people else f"more than {max(each.setting.people for each in rows)}"

    rests = [f"{each:g} minutes of rest: {enough(each, trials)} people" for each in sorted(config.rest_minutes)]
    counts = [f"{each} trials: {enough(minutes, each)} people" for each in sorted(config.trials) if each != trials]
    more = f"; and with {minutes:g} minutes of rest, {'; '.join(counts)}" if counts else ""
    most = max(outcomes, key=lambda each: (each.setting.people, each.setting.rest_minutes, each.setting.trials))
    reached = (
        f"{most.setting.people} of them with {most.setting.rest_minutes:g} minutes and {most.setting.trials} trials reach "
        f"a partial r = {most.mean_r:.2f}."
    )
    if config.size is None:
        whom = f"as large as `synth` says: {reached} For another effect give its size with --size, a partial r."
    else:
        study = largest(config)
        whom = (
            f"such that {study.people} with {study.rest_minutes:g} minutes and {study.trials} trials would reach the partial r "
            f"of {config.size:g} that was asked for; {reached}"
        )
    tests = max(each.num_tests for each in outcomes)
    others = f" (and of {', '.join(tasks_of(config)[1:])})" if len(tasks_of(config)) > 1 else ""
    return (
        f"To be called personal in {CLAIMS[config.claim]}, by all {tests} tests of a certificate and with its correction, at power "
        f"{config.power:.0%} and with {trials} trials of {config.task}{others}, a twin that is as good as ridge regression needs: "
        f"{'; '.join(rests)}{more}. That is with every person unseen in one of five folds, pooled, and beyond age, sex, site and motion. "
        f"It is for made-up people whose true effects are {whom}"
    )


def draw(rows: Sequence[Mapping[str, float]], power: float) -> Picture:
    """Draw power against people, one panel for lengths of rest and one for numbers of trials.

    Parameters
    ----------
    rows : sequence of mapping
        As in `plan.json`: a setting's `people`, `rest_minutes` and `trials`, its `power` and the interval from `lower` to `upper`.
    power : float
        That is asked for.
    """
    people, rests, counts = (sorted({row[name] for row in rows}) for name in ("people", "rest_minutes", "trials"))
    picture = Picture(figsize=(8.4, 3.6), layout="constrained")
    panels = picture.subplots(1, 2, sharey=True)
    minutes, trials = rests[len(rests) // 2], counts[len(counts) // 2]
    curves = [
        (panels[0], [(f"{each:g} min", each, trials) for each in rests], f"{trials:g} trials"),
        (panels[1], [(f"{each:g} trials", minutes, each) for each in counts], f"{minutes:g} minutes of rest"),
    ]
    for axes, lines, title in curves:
        for colour, (label, each_minutes, each_trials) in zip(COLOURS * len(lines), lines, strict=False):
            mine = [row for row in rows if (row["rest_minutes"], row["trials"]) == (each_minutes, each_trials)]
            along, shown, lower, upper = ([row[name] for row in mine] for name in ("people", "power", "lower", "upper"))
            axes.plot(along, shown, "o-", color=colour, ms=5, label=label)
            axes.fill_between(along, lower, upper, color=colour, alpha=0.12, lw=0)
        axes.axhline(power, color="grey", lw=0.8, ls=":")
        axes.set_xscale("log")
        axes.set_xticks(people, [f"{each:g}" for each in people])
        axes.minorticks_off()
        axes.set(ylim=(0, 1.02), xlabel="people", title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right", fontsize=9)
    panels[0].set_ylabel("power, with 95% interval")
    return picture


def _table(outcomes: list[Outcome]) -> Table:
    headings = ("people", "rest, minutes", "trials", "power", "interval", "says no", "partial r")
    table = terminal.table("What it takes to be called personal", *headings, justify="right")
    for each in outcomes:
        setting = each.setting
        interval = f"[{each.lower:.2f}, {each.upper:.2f}]"
        table.add_row(
            str(setting.people),
            f"{setting.rest_minutes:g}",
            str(setting.trials),
            f"{each.power:.2f}",
            interval,
            f"{each.no:.2f}",
            f"{each.mean_r:.2f}",
        )
    return table


def _figures(each: Outcome) -> dict[str, float]:
    found = dataclasses.asdict(each)
    return {name: found[name] for name in ("power", "lower", "upper", "no", "mean_r", "num_tests")}
