"""Put the kept figures of real people into the pages and the README: tables, pictures, commands, and what the data cannot say.

python scripts/studies/real_people/page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import matplotlib
from parts import AMOUNTS, KEPT, REPOSITORY, Figure

SETS = {
    "song": "song, 22 adults, rest and gradCPT with BOLD",
    "nodeap": "nodeap, 36 adults, up to seven connectomes, cTBS",
    "stages": "stages, 40 patients, drug or placebo",
    "hedge": "hedge, 47 adults, two sessions",
    "sro": "sro, 100 adults, two sessions",
    "selfreg": "selfreg, 70 adults, two of seven tasks",
    "qtab": "qtab, 194 adolescents in families",
    "tcp": "TCP, 180 adults, faces and Stroop, no images",
    "cnp": "CNP, 8 adults with rest, later parts of their own runs",
}
SEEN = ("cnp",)
"""Nobody of these is unseen: they have a page, and no row in a table of unseen people."""
SEEDS = {"cnp": 0}
"""Of training and split, where it is not that of twin.yaml: configs/cohorts/cnp.yaml names none."""
AS_PUBLISHED = ("tcp", "cnp")
"""Read as they are published; the others are compact files, which are expanded first."""
LICENCES = {
    "song": "OpenNeuro ds004592 is CC0; the repository of the series has no licence file.",
    "nodeap": "OpenNeuro ds006693 is CC0; the repositories of connectomes and choices have no licence file.",
    "stages": "Apache-2.0.",
    "hedge": "The repository of the data has no licence file.",
    "sro": "The repository of the data has no licence file.",
    "selfreg": "OpenNeuro ds004636 is CC0.",
    "qtab": "OpenNeuro ds004146 is CC0; the repository of the series has no licence file.",
    "tcp": "OpenNeuro ds005237 is CC0.",
    "cnp": "OpenNeuro ds000030 is CC0; the series are from a test fixture under the MIT licence.",
}
"""Of each set's data, as their publishers state it."""
PAGES, PICTURES = REPOSITORY / "docs" / "real-people", REPOSITORY / "docs" / "images"
COLUMNS = (
    "unseen people's RT, r",
    "effects, r",
    "BOLD map, own part, r",
    "added by the connectome to 10 trials, ms",
    "a scan is worth, trials",
    "RT after half a run (next session: all of the first), r: twin; own mean",
    "identity",
    "coverage of 90%",
)
BRIEF = (
    "people",
    "RT of unseen people, r",
    "a scan is worth, trials",
    "RT after half a run, r: twin / own mean",
    "coverage of 90%",
    "second scan nearest to the own first",
)
"""Columns of the README's table: a line a task, without its name."""
HEAD = 30
"""Fewer people than this support no claim, whatever their interval."""
TWIN, OTHERS = "#0072b2", "#555555"
LINES = (("twin", TWIN, "-"), ("own mean", OTHERS, "-"), ("Gaussian", "#d55e00", ":"))
"""Predictors of an update curve, with colour and line."""


def number(value: float | None, digits: int = 2) -> str:
    """Return a number as tables have it."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def cell(one: Figure | None, gain: Figure | None = None, *, digits: int = 2, scale: float = 1.0) -> str:
    """Return a figure with its interval, and a mark of its gain over the best baseline."""
    if one is None or one["value"] is None:
        return ""
    value, lower, upper = (None if one[name] is None else scale * one[name] for name in ("value", "lower", "upper"))
    interval = "" if lower is None or upper is None else f" [{number(lower, digits)}, {number(upper, digits)}]"
    return f"{mark(one, gain)}{number(value, digits)}{interval}"


def mark(one: Figure, gain: Figure | None) -> str:
    """Return ✓ where the twin is better than the best baseline, ✗ where it is worse, ? where that is open or people are fewer than `HEAD`.

    A correlation that may be 0 is better than nothing: where baselines only have the differences between folds wrong, that is no finding.
    """
    if gain is None or gain["lower"] is None or gain["upper"] is None:
        return ""
    if gain["n"] < HEAD:
        return "? "
    is_better = gain["lower"] > 0 and one["lower"] is not None and one["lower"] > 0
    return "✓ " if is_better else "✗ " if gain["upper"] < 0 else "? "


def tasks_of(kept: dict[str, Any]) -> list[str]:
    """Return the tasks that the figures speak of."""
    found = [name.split(": ")[0].removeprefix("everybody, ") for name in kept["figures"] if ": mean RT" in name]
    return [each for each in dict.fromkeys(found) if " to " not in each]


def amount_of(figures: dict[str, Figure], where: str) -> str:
    """Return the number of own trials that tables and pictures tell of: half a run, and before the next session all of the first.

    All of a session of one run is called `a run`.
    """
    if "next session" not in where:
        return "half a run"
    return "all" if any(name.startswith(f"{where}: ") and name.endswith(", all") for name in figures) else "a run"


def own_mean_of(figures: dict[str, Figure], where: str, amount: str) -> Figure | None:
    """Return r of the own mean: of the people whom a twin was tested on, or else of everybody."""
    name = f"mean RT r, own mean, {amount}"
    return figures.get(f"{where}: {name}") or figures.get(f"everybody, {where}: {name.replace('own mean', 'own_mean')}")


def row_of(kept: dict[str, Any]) -> list[str]:
    """Return the cells of one set."""
    figures = kept["figures"]
    plain = [task for task in tasks_of(kept) if "," not in task]

    def each(metric: str, *, scale: float = 1.0, digits: int = 2, tasks: Iterable[str] = plain) -> str:
        parts = []
        for task in tasks:
            name = f"{task}: {metric}"
            if text := cell(figures.get(name), figures.get(f"{name}, gain"), digits=digits, scale=scale):
                parts.append(f"{task}: {text}" if len(plain) > 1 else text)
        return "<br>".join(parts) or "–"

    own = []
    for task in tasks_of(kept):
        amount = amount_of(figures, task)
        twin = figures.get(f"{task}: mean RT r, twin, {amount}")
        if mean := own_mean_of(figures, task, amount):
            own.append(f"{task}: {cell(twin) or 'no twin'}; {cell(mean)}")
    identity = [
        f"{name.split(', ', 1)[-1].removesuffix(': nearest')}: {cell(one)}, {one['n']} people"
        for name, one in figures.items()
        if name.endswith(": nearest")
    ]
    covered = [
        f"{task}: {cell(figures.get(f'{task}: mean RT within 90%, twin, half a run'))}"
        for task in plain
        if f"{task}: mean RT within 90%, twin, half a run" in figures
    ]
    return [
        each("mean RT r"),
        each("condition effect r"),
        each("BOLD map r without the group map"),
        each("added by the connectome to 10 trials, CRPS", scale=1000.0, digits=1),
        each("a scan is worth, trials", digits=0),
        "<br>".join(own) or "–",
        "<br>".join(identity) or "–",
        "<br>".join(covered) or "–",
    ]


def brief_row(name: str, kept: dict[str, Any]) -> list[str]:
    """Return the cells of one set in the README: a line a task."""
    figures = kept["figures"]
    columns: list[list[str]] = [[] for _ in BRIEF[1:]]
    for task in (task for task in tasks_of(kept) if "," not in task):
        amount = amount_of(figures, task)
        twin, mean = figures.get(f"{task}: mean RT r, twin, {amount}"), own_mean_of(figures, task, amount)
        lines = (
            cell(figures.get(f"{task}: mean RT r"), figures.get(f"{task}: mean RT r, gain")),
            cell(figures.get(f"{task}: a scan is worth, trials"), digits=0),
            f"{cell(twin) or 'no twin'} / {cell(mean)}" if mean else "",
            cell(figures.get(f"{task}: mean RT within 90%, twin, {amount}")),
        )
        for column, line in zip(columns, lines, strict=False):
            column.extend([line] if line else [])
    nearest = [one for key, one in figures.items() if key.endswith(": nearest") and "connectome" in key]
    columns[-1] = [f"{cell(one)}, {one['n']} people" for one in nearest[:1]]
    who = ", ".join(SETS[name].split(", ")[:2])
    return [f"[{who}](docs/real-people/{name}.md)", *("<br>".join(lines) or "–" for lines in columns)]


def table(rows: Iterable[Iterable[str]], heads: Iterable[str]) -> str:
    """Return a table in Markdown."""
    heads = list(heads)
    return "\n".join(f"| {' | '.join(each)} |" for each in (heads, ["---"] * len(heads), *rows))


def between(text: str, name: str, content: str) -> str:
    """Put content between the comments `<!-- name -->` and `<!-- end of name -->`."""
    return re.sub(
        rf"<!-- {name} -->.*?<!-- end of {name} -->",
        lambda _: f"<!-- {name} -->\n\n{content}\n\n<!-- end of {name} -->",
        text,
        flags=re.DOTALL,
    )


def details(kept: dict[str, Any]) -> str:
    """Return what every page says from the kept file: commands, licence, certificate, what the data cannot say, figures."""
    expanded = [f"python $DTB_REAL_DATA/expand.py {kept['set']} $DTB_REAL_DATA/{kept['set']} ."]
    protocol = f"SHA-256 of the protocol: `{kept['protocol_sha256']}`.\n\n" if "protocol_sha256" in kept else ""
    whole = f"python scripts/studies/real_people/everything.py OUT --sets {kept['set']}"
    commands = "\n".join([*([] if kept["set"] in AS_PUBLISHED else expanded), *kept["commands"]])
    unreal = "\n".join(f"- {each}" for each in kept["not_real"]) or "- The sidecars name nothing."
    shown = re.compile(r"^(?!.*(R2|CRPS, own|CRPS, Gaussian|multi_output|group_map|, 0$))")
    rows = [
        (
            name,
            number(one["value"], 3),
            f"{number(one['lower'], 3)}, {number(one['upper'], 3)}",
            str(one["n"]),
            "yes" if one["trained"] else "no",
        )
        for name, one in kept["figures"].items()
        if shown.match(name)
    ]
    return (
        f"## Commands\n\n```bash\n{commands}\n```\n\nAll of it, with the figures that no command of `dtb` makes: `{whole}`.\n\n"
        f"Taken smaller: {kept['smaller']} Seed of training and split: {SEEDS.get(kept['set'], 1)}; of intervals: 0.{took(kept)}\n\n"
        f"Licence: {LICENCES[kept['set']]} No data are shipped with `dtb`.\n\n{protocol}{certified(kept)}"
        f"## What the data cannot say, by their sidecars\n\n{unreal}\n\n"
        f"## Picture\n\n![Figures with 95% intervals](../images/real-people-{kept['set']}.svg)\n\n"
        "## Figures\n\nIntervals are of 95%, by bootstrap over people. `trained` says whether a training has a part in it. All figures, R2 "
        f"and further baselines too: `docs/real-people/figures/{kept['set']}.json`.\n\n"
        + table(rows, ("figure", "value", "95%", "people", "trained"))
    )


def took(kept: dict[str, Any]) -> str:
    """Return how long a set took from nothing, where that is known."""
    return f" It took {kept['minutes']} minutes by the clock, from nothing." if "minutes" in kept else ""


def certified(kept: dict[str, Any]) -> str:
    """Return what the certificate says, or that its words are not kept; empty where no twin was trained."""
    lines = []
    if said := kept.get("certificate"):
        tests = ", ".join(f"{count} {verdict}" for verdict, count in sorted(said["tests"].items()))
        lines.append(f"Certificate: {said['sentence']} {said['fit']} Its tests: {tests}.")
    elif any(one["trained"] for one in kept["figures"].values()):
        lines.append(
            "What the certificate said is not kept with these figures. Where the verdict above tells of it, it is as the run said it."
        )
    has_curves = any(", twin, " in name for name in kept["figures"])
    if has_curves and not any("twin over own mean" in name for name in kept["figures"]):
        lines.append(
            "Differences from the own mean with their intervals, and figures of the blend, are as the run said them, too: they are not "
            "kept, and `everything.py --compare` does not see them; the next run keeps them."
        )
    return "\n\n".join(["## Certificate", *lines, ""]) if lines else ""


def drawn_rows(kept: dict[str, Any]) -> list[tuple[str, Figure]]:
    """Return the figures that are drawn with their intervals: identity, unseen people, drifts and trial, then own trials, then transfer.

    Baselines of everybody are left out where a twin has that row.
    """
    figures = kept["figures"]
    wheres = dict.fromkeys(
        name.split(": ")[0] for name in figures if re.search(r": mean RT r, (twin|own_mean), ", name)
    )
    wheres = [each for each in wheres if each.removeprefix("everybody, ") == each or each[11:] not in wheres]
    own = {False: [], True: []}
    for where in wheres:
        amount = amount_of(figures, where)
        metrics = ["mean RT r", *([] if " to " in where else ["condition effect r"])]
        names = [f"{metric}, {who}, {amount}" for metric in metrics for who in ("twin", "own mean", "own_mean")]
        own[" to " in where] += [f"{where}: {each}" for each in [*names, f"mean RT within 90%, twin, {amount}"]]
    first = (r"nearest$", r" r$|, r$|without the group map$", r"drift|^trial: (r|people)")
    names = [name for pattern in first for name in figures if re.search(pattern, name)] + own[False] + own[True]
    return [
        (name, figures[name]) for name in dict.fromkeys(names) if name in figures and figures[name]["lower"] is not None
    ]


def update_curves(kept: dict[str, Any]) -> dict[str, dict[str, list[tuple[str, Figure]]]]:
    """Return by panel and predictor what is said after each amount of own data: errors of mean RT, gains of maps by minutes of BOLD."""
    figures, found = kept["figures"], {}
    for where in (each for each in tasks_of(kept) if f"{each}: mean RT CRPS, twin, half a run" in figures):
        found[f"{where}: error of mean RT after own trials, ms"] = {
            who: [
                (amount, {name: 1000 * one[name] for name in ("value", "lower", "upper")})
                for amount in AMOUNTS
                if (one := figures.get(f"{where}: mean RT CRPS, {who}, {amount}"))
            ]
            for who, _, _ in LINES
        }
    for task in tasks_of(kept):
        curves = {
            who: [
                (
                    name.rsplit(", ", 1)[-1].removesuffix(" min"),
                    {each: 100 * one[each] for each in ("value", "lower", "upper")},
                )
                for name, one in figures.items()
                if name.startswith(f"{task}: later map gain, {column}, ")
            ]
            for who, column in (("twin", "living_twin"), ("own mean", "own_map"))
        }
        if curves["twin"]:
            found[f"{task}: less error of maps after minutes of BOLD, %"] = curves
    return found


def draw(kept: dict[str, Any]) -> None:
    """Draw a set's update curves, and below them its main figures, with their intervals."""
    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.hashsalt": "dtb", "svg.fonttype": "none"}
    from matplotlib import pyplot

    curves, shown = update_curves(kept), drawn_rows(kept)
    columns = min(2, len(curves))
    heights = [1.9 * -(-len(curves) // 2) if curves else 0.0, 0.2 * len(shown) + 0.9]
    drawn = pyplot.figure(figsize=(8.5, sum(heights)), layout="constrained")
    parts = drawn.subfigures(2, 1, height_ratios=heights) if curves else [None, drawn]
    if curves:
        grid = parts[0].subplots(-(-len(curves) // columns), columns, squeeze=False)
        for axes, (title, lines) in zip(grid.flat, curves.items(), strict=False):
            draw_curve(axes, title, lines)
        for axes in list(grid.flat)[len(curves) :]:
            axes.remove()
        grid.flat[0].legend(fontsize=7, edgecolor="none")
    axes = parts[1].subplots()
    for place, (_, one) in enumerate(reversed(shown)):
        colour = TWIN if one["trained"] else OTHERS
        axes.plot([one["lower"], one["upper"]], [place, place], color=colour, lw=1.5)
        axes.plot(one["value"], place, "o", ms=4, color=colour)
    axes.set_yticks(range(len(shown)), [name for name, _ in reversed(shown)], fontsize=7)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.axvline(0, color="#bbbbbb", lw=0.8)
    axes.set_xlim(max(axes.get_xlim()[0], -1.05), min(axes.get_xlim()[1], 1.05))
    axes.set_title("blue: a twin has a part in it; grey: none has. 95% intervals over people", fontsize=8, loc="left")
    drawn.savefig(PICTURES / f"real-people-{kept['set']}.svg", metadata={"Date": None})
    pyplot.close(drawn)


def draw_curve(axes: Any, title: str, lines: dict[str, list[tuple[str, Figure]]]) -> None:
    """Draw one update curve: predictors beside each other at each amount of own data."""
    amounts = list(dict.fromkeys(amount for points in lines.values() for amount, _ in points))
    for shift, (who, colour, style) in zip((-0.08, 0.0, 0.08), LINES, strict=True):
        if points := lines.get(who):
            places = [amounts.index(amount) + shift for amount, _ in points]
            values = [one["value"] for _, one in points]
            label = who.replace("own mean", "own map") if "BOLD" in title else who
            axes.plot(places, values, style, marker="o", ms=3, lw=1.2, color=colour, label=label)
            axes.vlines(
                places, [one["lower"] for _, one in points], [one["upper"] for _, one in points], color=colour, lw=0.8
            )
    if "BOLD" in title:
        axes.legend(fontsize=7, edgecolor="none")
    axes.set_xticks(range(len(amounts)), amounts, fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(title, fontsize=8, loc="left")


def main() -> None:
    """Write tables and pictures."""
    every = {name: json.loads((KEPT / f"{name}.json").read_text()) for name in SETS if (KEPT / f"{name}.json").exists()}
    rows = []
    for name, kept in every.items():
        draw(kept)
        page = PAGES / f"{name}.md"
        page.write_text(between(page.read_text(), "figures", details(kept)))
        if name not in SEEN:
            rows.append((f"[{SETS[name]}]({name}.md)", *row_of(kept)))
    index, readme = PAGES / "index.md", REPOSITORY / "README.md"
    index.write_text(between(index.read_text(), "real people", table(rows, ("set", *COLUMNS))))
    brief = table((brief_row(name, kept) for name, kept in every.items() if name not in SEEN), BRIEF)
    readme.write_text(between(readme.read_text(), "real people", brief))


if __name__ == "__main__":
    main()
