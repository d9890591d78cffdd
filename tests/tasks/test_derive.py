"""The example of derived columns in the documentation, executed; trials without a right answer; and two tasks in one file."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dtb.cohort.ingest import ingest
from dtb.config import ClusterConfig, Config, IngestConfig
from dtb.errors import InputDataError
from dtb.fleet.derivatives import write_relmat
from dtb.shards.read import open_cohort
from dtb.tasks.cells import Cells
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task, task_from_mapping, task_to_plain
from dtb.tasks.tables import read_tsv
from tests.expand import expanded

PAGE = Path(__file__).parent.parent.parent / "docs" / "tasks.md"


def block(name: str) -> str:
    """The block of the page that follows a mark."""
    found = re.search(rf"<!-- derive:{name} -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def table_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.fixture
def example(tmp_path):
    """The specification of the page and its events."""
    (tmp_path / "gambles.yaml").write_text(block("specification"))
    path = tmp_path / "sub-1_task-gambles_events.tsv"
    path.write_text("\n".join("\t".join(row) for row in table_of(block("events"))) + "\n")
    return load_task(tmp_path / "gambles.yaml"), path


def test_the_pages_derived_columns_are_what_the_example_gives(example):
    spec, path = example
    names, *rows = table_of(block("columns"))
    assert names == list(spec.derive)
    cells = Cells(read_tsv(path), spec)
    for place, name in enumerate(names):
        assert [cell or "n/a" for cell in cells.column(name)] == [row[place] for row in rows]


def test_a_trial_without_a_right_answer_is_used_and_not_scored(example):
    spec, path = example
    found = read_trials(spec, path)
    assert found.unusable == []
    assert found.trials.usable_J.all()
    assert found.trials.scored_J.tolist() == [True, False, True, False]
    assert found.trials.right_J[found.trials.scored_J].tolist() == [True, False]
    assert found.trials.response_JA.tolist() == [[True, False], [False, True], [True, False], [True, False]]
    other = task_to_plain(spec)
    other["trials"]["correct"]["values"] = {"left": "left", "right": "right"}
    strict = read_trials(task_from_mapping(other, "here"), path)
    assert [bad.row for bad in strict.unusable] == [3, 5]


def test_a_press_whose_accuracy_alone_is_known_may_be_any_where_nothing_is_right(example):
    spec, path = example
    plain = task_to_plain(spec)
    plain["trials"]["response"] = {"from_accuracy": {"column": "outcome", "correct": ["win"], "error": ["loss"]}}
    trials = read_trials(task_from_mapping(plain, "here"), path).trials
    assert trials.response_JA[~trials.scored_J].all()
    assert trials.usable_J.all()


@pytest.mark.slow
def test_right_answers_exist_only_where_one_cue_is_without_odour(real_data):
    plain = task_to_plain(load_task(real_data / "tasks" / "nodeap_choice.yaml"))
    recode = {"odour1": "yes", "odour2": "yes", "none": "no"}
    plain["derive"]["left_smells"] = {"recode": "left_odour", "values": recode}
    plain["derive"]["asked"] = {"recode": "left_smells", "values": {"yes": "left", "no": "right"}}
    plain["derive"]["nothing"] = {"recode": "left_smells", "values": {"never": "never"}}
    plain["derive"]["right_side"] = {"select_by": "ChoiceType", "columns": {"1": "asked", "2": "asked", "3": "nothing"}}
    plain["trials"]["correct"] = {"column": "right_side", "values": {"left": "left", "right": "right", "n/a": None}}
    spec = task_from_mapping(plain, "here")
    for path in sorted(expanded(real_data, "nodeap").glob("bids/sub-*/ses-*/func/*choice*_events.tsv"))[:20]:
        table = pd.read_csv(path, sep="\t")
        against_none = table.ChoiceType.isin([1, 2])
        # OdorLR 1: the odour is on the left, 2: on the right.
        wanted = np.where(table.OdorLR == 1, table.CueLeft, table.CueRight)
        pressed = ((table.SelectedCue == table.CueLeft) | (table.SelectedCue == table.CueRight)) & table.rt.notna()
        trials = read_trials(spec, path).trials
        assert trials.scored_J.tolist() == against_none.tolist()
        right_J = trials.right_J & trials.scored_J & trials.pressed_J & trials.usable_J
        assert right_J.sum() == (against_none & pressed & (table.SelectedCue == wanted) & (table.rt <= 3000)).sum()


TWO = "onset\tduration\tkind\tkey\trt\n" + "".join(
    f"{3 * place}\t1\t{'simple' if place % 3 else 'choice'}\t{1 + place % 2}\t0.{4 + place % 5}\n"
    for place in range(12)
)


def one_of_two(kind: str, where: dict[str, list[str]]) -> dict[str, object]:
    """A specification of the rows of one kind."""
    return {
            "name": kind, "domain": "cognitive", "matches": ["mixed"], "alternatives": ["a", "b"],
            "trials": {
                "where": where, "window": {"seconds": 2}, "reaction_time": {"column": "rt"},
                "response": {"from_codes": {"column": "key", "codes": {"1": "a", "2": "b"}}},
            },
            "stimuli": [{"channels": ["seen"], "constant": 1, "duration": {"seconds": 0.5}}],
    }  # fmt: skip


@pytest.mark.cluster
def test_two_specifications_read_one_file_each_its_own_rows(tmp_path):
    bids, noise = tmp_path / "bids", tmp_path / "noise"
    path = bids / "sub-01" / "func" / "sub-01_task-mixed_events.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(TWO)
    (noise / "sub-01" / "func").mkdir(parents=True)
    stem = noise / "sub-01" / "func" / "sub-01_task-rest_seg-Noise_stat-pearsoncorrelation_relmat"
    write_relmat(stem, np.linspace(-0.5, 0.5, 10), list("abcde"), "r")
    specs = {name: tmp_path / f"{name}.yaml" for name in ("simple", "choice", "greedy")}
    for name, file in specs.items():
        file.write_text(yaml.safe_dump(one_of_two(name, where={} if name == "greedy" else {"kind": [name]})))
    settings = IngestConfig(
        tasks=(str(specs["simple"]), str(specs["choice"])), connectome="precomputed", matrix_transform="none"
    )
    config = Config(cluster=ClusterConfig(num_cpus=1), ingest=settings)
    ingest(config, bids, (noise,), tmp_path / "out", resume=False)
    (record,) = open_cohort(tmp_path / "out").records()
    assert [run.task for run in record.runs] == ["simple", "choice"]
    table = pd.read_csv(path, sep="\t")
    for run in record.runs:
        mine = table[table.kind == run.task]
        assert run.trials.onset_seconds_J.tolist() == mine.onset.tolist()
        np.testing.assert_allclose(run.trials.rt_seconds_J, mine.rt)
        assert run.trials.response_JA.argmax(1).tolist() == (mine.key - 1).tolist()
    greedy = dataclasses.replace(settings, tasks=(str(specs["simple"]), str(specs["greedy"])))
    with pytest.raises(InputDataError, match=r"matched by several tasks: simple, greedy(.|\n)*trials.where"):
        ingest(dataclasses.replace(config, ingest=greedy), bids, (noise,), tmp_path / "none", resume=False)
