"""Put the kept figures of real people into the pages and the README: tables, pictures, commands, and what the data cannot say.

python scripts/studies/real_people/page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import matplotlib
from parts import KEPT, REPOSITORY, Figure

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
    "RT after half a run, r: twin / own mean",
    "second scan nearest to the own first",
)
"""Columns of the README's table, which has no intervals: the marks stand for them."""
HEAD = 30
"""Fewer people than this support no claim, whatever their interval."""


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
    """Return ✓ where the twin is better than the best baseline, ✗ where it is worse, ? where that is open or people are too few to say.

    A correlation that may be 0 is better than nothing: where baselines only have the differences between folds wrong, that is no finding.
    """
    if gain is None or gain["lower"] is None or gain["upper"] is None:
        return ""
    is_better = gain["lower"] > 0 and gain["n"] >= HEAD and one["lower"] is not None and one["lower"] > 0
    decided = "✓ " if is_better else "✗ " if gain["upper"] < 0 else "? "
    return decided


def tasks_of(kept: dict[str, Any]) -> list[str]:
    """Return the tasks that the figures speak of."""
    found = [name.split(": ")[0].removeprefix("everybody, ") for name in kept["figures"] if ": mean RT" in name]
    return [each for each in dict.fromkeys(found) if " to " not in each]


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
        amount = "all" if "next session" in task else "half a run"
        twin = figures.get(f"{task}: mean RT r, twin, {amount}")
        mean = figures.get(f"{task}: mean RT r, own mean, {amount}") or figures.get(
            f"everybody, {task}: mean RT r, own_mean, {amount}"
        )
        if mean:
            own.append(f"{task}: {cell(twin) or 'no twin'}; {cell(mean)}")
    identity = [
        f"{name.split(', ', 1)[-1].removesuffix(': nearest')}: {cell(one)}"
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
    """Return the cells of one set in the README: a value a task, without its interval."""
    figures = kept["figures"]
    plain = [task for task in tasks_of(kept) if "," not in task]
    unseen, own = [], []
    for task in plain:
        if one := figures.get(f"{task}: mean RT r"):
            unseen.append(f"{mark(one, figures.get(f'{task}: mean RT r, gain'))}{number(one['value'])}")
        twin = figures.get(f"{task}: mean RT r, twin, half a run")
        mean = figures.get(f"{task}: mean RT r, own mean, half a run") or figures.get(
            f"everybody, {task}: mean RT r, own_mean, half a run"
        )
        if mean:
            own.append(f"{number(twin['value']) if twin else 'none'} / {number(mean['value'])}")
    nearest = [one for key, one in figures.items() if key.endswith(": nearest") and "connectome" in key]
    who = ", ".join(SETS[name].split(", ")[:2])
    link = f"[{who}](docs/real-people/{name}.md)"
    return [link, *(", ".join(cells) or "–" for cells in (unseen, own, [number(one["value"]) for one in nearest[:1]]))]


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
    """Return what every page says from the kept file: commands, what was smaller, what the data cannot say, figures."""
    expanded = [f"python $DTB_REAL_DATA/expand.py {kept['set']} $DTB_REAL_DATA/{kept['set']} ."]
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
        f"## Commands\n\n```bash\n{commands}\n```\n\nTaken smaller: {kept['smaller']} Seed of training and split: "
        f"{SEEDS.get(kept['set'], 1)}; of intervals: 0.\n\n"
        f"## What the data cannot say, by their sidecars\n\n{unreal}\n\n"
        f"## Picture\n\n![Figures with 95% intervals](../images/real-people-{kept['set']}.svg)\n\n"
        "## Figures\n\nIntervals are of 95%, by bootstrap over people. `trained` says whether a training has a part in it. All figures, R2 "
        f"and further baselines too: `docs/real-people/figures/{kept['set']}.json`.\n\n"
        + table(rows, ("figure", "value", "95%", "people", "trained"))
    )


def draw(kept: dict[str, Any]) -> None:
    """Draw a set's main figures with their intervals."""
    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.hashsalt": "dtb", "svg.fonttype": "none"}
    from matplotlib import pyplot

    shown = [
        (name, one)
        for name, one in kept["figures"].items()
        if one["lower"] is not None
        and re.search(
            r" r$|r, (twin|own mean|own_mean), (half a run|all)$|nearest$|within 90%|drift|map gain, (living_twin|own_map)",
            name,
        )
    ][:36]
    drawn, axes = pyplot.subplots(figsize=(8.5, 0.24 * len(shown) + 0.9))
    for place, (_, one) in enumerate(reversed(shown)):
        axes.plot(
            [one["lower"], one["upper"]], [place, place], color="#0072b2" if one["trained"] else "#555555", lw=1.5
        )
        axes.plot(one["value"], place, "o", ms=4, color="#0072b2" if one["trained"] else "#555555")
    axes.set_yticks(range(len(shown)), [name for name, _ in reversed(shown)], fontsize=7)
    axes.axvline(0, color="#bbbbbb", lw=0.8)
    axes.set_xlim(max(axes.get_xlim()[0], -1.05), min(axes.get_xlim()[1], 1.05))
    axes.set_title("blue: a twin has a part in it; grey: none has. 95% intervals over people", fontsize=8, loc="left")
    drawn.tight_layout()
    drawn.savefig(PICTURES / f"real-people-{kept['set']}.svg", metadata={"Date": None})
    pyplot.close(drawn)


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
