"""The parts of a task specification, from what the columns of its events files are taken for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dtb.tasks.draft.answers import is_stop_delay
from dtb.tasks.draft.columns import has_word, identifier, words_of
from dtb.tasks.draft.found import Found, kind_of
from dtb.tasks.draft.presses import Where

_CONDITION_WORDS = ("congruency", "congruence", "congruent", "condition", "cond", "trial", "type", "switch", "load")
_MOST_CONDITIONS = 8
_MORE = {
    *("incongruent", "incompatible", "invalid", "switch", "stop", "nogo", "rare", "face", "faces", "emotion"),
    *("negative", "fear", "hard"),
}
_LESS = {"congruent", "compatible", "valid", "stay", "noswitch", "go", "frequent", "shape", "shapes", "neutral", "easy"}
_AFFECTIVE = {
    *("emotion", "emotional", "face", "faces", "fear", "fearful", "happy", "angry", "sad", "valence", "affect"),
}
_STRAY = 3.0  # a press that took as many times longer than usual
_STOP_SECONDS = 0.3


def specification_of(found: Found, label: str) -> dict[str, Any]:
    """Return a specification as nested mappings, in the order in which files have it."""
    seconds = window_seconds(found)
    derive, alternatives, response = _response(found)
    conditions, contrast = _conditions(found)
    correct = found.answers.correct | ({"withhold": found.answers.withhold} if found.answers.withhold else {})
    times = found.times
    reaction_time = {
        "column": times.column,
        "unit": times.unit,
        "omitted": list(times.omitted),
        "invalid": "drop",
        "late": "drop",
    }
    trials = {
        "where": found.where,
        "window": {"seconds": seconds},
        "reaction_time": reaction_time,
        "response": response,
        "correct": correct,
        "conditions": conditions,
    }
    values = {
        "name": identifier(label),
        "domain": "affective" if _is_affective(found, label) else "cognitive",
        "matches": [label],
        "alternatives": list(alternatives),
        "strip_spaces": found.pool.has_spaces,
        "stimuli_depend_on_responses": stop_delay(found) is not None,
        "derive": derive,
        "trials": {key: value for key, value in trials.items() if value},
        "stimuli": _stimuli(found, seconds),
        "contrast": contrast,
    }
    return {key: value for key, value in values.items() if value}


def window_seconds(found: Found) -> float:
    """Return how long a press counts: as long as trials are, or until the last press if that comes later; strays do not count."""
    rt_J, durations = found.rt_J, found.durations
    longest, usual = float(rt_J.max()), float(np.percentile(rt_J, 99))
    lasts = float(np.median(durations)) if len(durations) else 0.0
    if longest <= lasts or (usual <= lasts and longest > _STRAY * lasts):
        return round(lasts, 3)
    until_next = found.spacing_seconds or longest
    if longest > _STRAY * usual and longest > until_next:
        longest = max(until_next, usual)
    return round(math.ceil(10 * longest - 1e-9) / 10, 1)


def _response(found: Found) -> tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]:
    """Return derived columns, the alternatives, and where the response is read from."""
    derive: dict[str, Any] = {kind_of(name): {"recode": name, "values": values} for name, values in found.told.items()}
    derive |= found.answers.derive
    if found.responses is not None:
        codes = {"column": found.responses.column, "codes": found.responses.codes}
        return {**found.responses.derive, **derive}, found.responses.alternatives, {"from_codes": codes}
    if found.accuracy is not None:
        names = tuple(found.answers.correct.get("choices", ())) or ("right_key", "wrong_key")
        marks = {
            "column": found.accuracy.column,
            "correct": list(found.accuracy.correct),
            "error": list(found.accuracy.error),
        }
        return derive, names, {"from_accuracy": marks}
    derive["no_press"] = {"recode": found.times.column, "values": dict.fromkeys(found.times.omitted, "none")}
    return derive, ("press",), {"from_codes": {"column": "no_press", "codes": {"none": None, "n/a": "press"}}}


def _conditions(found: Found) -> tuple[dict[str, Where], dict[str, int]]:
    """Return the conditions, and their contrast if their names say which asks for more."""
    name = _condition_column(found)
    if name is None:
        return {}, {}
    levels = found.pool.sorted_levels(name, found.trial_W)
    before = words_of(name)[0] if all(level[:1].isdigit() for level in levels) else ""
    named = {identifier(level, before): level for level in levels}
    more = [each for each, level in named.items() if has_word(level, _MORE)]
    less = [each for each, level in named.items() if has_word(level, _LESS) and each not in more]
    contrast = {more[0]: 1, less[0]: -1} if len(more) == len(less) == 1 else {}
    return {each: {name: [level]} for each, level in named.items()}, contrast


def _condition_column(found: Found) -> str | None:
    ranked = [
        (rank, order, name)
        for order, name in enumerate(found.shown)
        if len(found.pool.levels(name, found.trial_W)) <= _MOST_CONDITIONS
        for rank, word in enumerate(_CONDITION_WORDS)
        if word in words_of(name)
    ]
    return min(ranked)[2] if ranked else next(iter(found.answers.withhold), None)


def _stimuli(found: Found, seconds: float) -> list[dict[str, Any]]:
    """Return what a twin is shown: every column of few values that is not another one's double, what is asked for, a stop signal."""
    pool, trial_W = found.pool, found.trial_W
    where: dict[str, Any] = {"where": found.where} if found.where else {}
    lasts = _stimulus_duration(found, seconds)
    chosen = columns_shown(found)
    stimuli = []
    for name in chosen:
        words = [word for word in words_of(name) if word not in {"stim", "stimulus"}] or words_of(name)
        levels = pool.sorted_levels(name, trial_W)
        channels = [identifier(f"{'_'.join(words)}_{level}") for level in levels]
        stimuli.append({"channels": channels, **where, "column": name, "one_hot": levels, "duration": lasts})
    if _asks_beyond(found, chosen):
        asked = {value: name for value, name in found.answers.correct["values"].items() if name is not None}
        channels = [f"asks_{name}" for name in asked.values()]
        column = found.answers.correct["column"]
        stimuli.insert(0, {"channels": channels, **where, "column": column, "one_hot": list(asked), "duration": lasts})
    delay = stop_delay(found)
    if delay is not None:
        unit = "ms" if np.nanmax(pool.numbers(delay)) > 10 else "s"
        onset = {"columns": {"onset": "s", delay: unit}}
        shown = {"where": found.answers.withhold, "onset": onset, "duration": {"seconds": _STOP_SECONDS}, "constant": 1}
        stimuli.append({"channels": ["stop_signal"], **shown})
    return stimuli or [{"channels": ["onset"], **where, "duration": {"seconds": 0.2}, "constant": 1}]


def _asks_beyond(found: Found, chosen: list[str]) -> bool:
    """Return whether what is asked for does not follow from the columns that are shown."""
    answers, column = found.answers, found.answers.correct.get("column")
    if answers.how not in ("column", "other_key", "learnt") or (
        answers.how == "learnt" and set(answers.sources) <= set(chosen)
    ):
        return False
    return column not in found.pool.columns or not chosen or not found.pool.determines(chosen, column, found.trial_W)


def columns_shown(found: Found) -> list[str]:
    """Return the columns that are shown: those that are called stimuli first, and of two that say the same the first."""
    pool, trial_W = found.pool, found.trial_W
    chosen: list[str] = []
    for name in sorted(found.shown, key=lambda each: not has_word(each, {"stim", "stimulus", "target", "cue"})):
        twice = any(
            pool.determines([other], name, trial_W) and pool.determines([name], other, trial_W) for other in chosen
        )
        if pool.is_complete(name, trial_W) and not twice:
            chosen.append(name)
    if stop_delay(found) is not None:  # at the onset nobody knows yet whether a stop signal will come
        held = list(found.answers.withhold)
        chosen = [name for name in chosen if not pool.determines([name], held[0], trial_W)]
    return chosen


def stop_delay(found: Found) -> str | None:
    """Return the column that says how long after the onset a stop signal came, if there are trials in which withholding is right."""
    names = (name for name in found.pool.columns if is_stop_delay(name))
    return next(names, None) if found.answers.withhold else None


def _stimulus_duration(found: Found, seconds: float) -> dict[str, Any]:
    duration_W = found.numbers("duration")[found.trial_W]
    if np.isfinite(duration_W).all() and 0 < np.median(duration_W) <= seconds:
        return {"columns": {"duration": "s"}}
    return {"seconds": min(1.0, seconds)}


def _is_affective(found: Found, label: str) -> bool:
    levels = [level for name in found.shown for level in found.pool.levels(name, found.trial_W)]
    return any(has_word(text, _AFFECTIVE) for text in (label, *found.shown, *levels))
