"""Finding: whoever and whatever is asked for is found, in any number of trees, from a list that is never out of date; odd trees end in a sentence."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtb.cohort.bids import tree_cache
from dtb.cohort.bids.files import PersonFiles
from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.bids.selection import wanted_specs
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.config import IngestConfig
from dtb.errors import UserError
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet

TASKS = TaskSet((load_task("stroop"), load_task("hammer")))
SERIES = "space-MNI152NLin6Asym_seg-Toy_stat-mean_timeseries.tsv"
FULL = "ses-{ses}_task-{task}_acq-mb_dir-{way}_run-{run}"


def touch(root: Path, label: str, *runs: str, ending: str, session: str | None = "pre") -> None:
    folder = root / f"sub-{label}" / (f"ses-{session}" if session else "") / "func"
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        (folder / f"sub-{label}_{run}_{ending}").touch()


def study(folder: Path, labels: tuple[str, ...] = ("01", "02")) -> tuple[Path, Path]:
    """Two sessions of rest and stroop in two directions, of which the second has two runs."""
    bids, derived = folder / "bids", folder / "xcp_d"
    for label in labels:
        for session in ("pre", "post"):
            ways = (("AP", "01"), ("PA", "01"), ("PA", "02"))
            stroop = [FULL.format(ses=session, task="stroop", way=way, run=run) for way, run in ways]
            rest = [FULL.format(ses=session, task="rest", way=way, run=run) for way, run in ways]
            touch(bids, label, *stroop, ending="events.tsv", session=session)
            touch(derived, label, *stroop, *rest, ending=SERIES, session=session)
            touch(derived, label, *rest, ending="motion.tsv", session=session)
    return bids, derived


def find(bids: Path, *derived: Path, tasks: TaskSet = TASKS, **options) -> list[PersonFiles]:
    return index_people(bids, derived, IngestConfig(**options), tasks)


def keys(files) -> list[str]:
    """Return session, direction and run of files, in one word each."""
    return ["".join(file.name.entities.get(key, "") for key in ("ses", "dir", "run")) for file in files]


def filter_file(folder: Path, value: object) -> Path:
    path = folder / "filter.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def old(monkeypatch):
    """Let folders settle at once, so that a list of a tree that was made just now is kept."""
    monkeypatch.setattr(tree_cache, "_SETTLING_NS", 0)
    return lambda: time.sleep(0.02)


def test_sessions_directions_and_runs_are_told_apart(tmp_path):
    people = find(*study(tmp_path))
    assert [person.label for person in people] == ["01", "02"]
    expected = ["postAP01", "postPA01", "postPA02", "preAP01", "prePA01", "prePA02"]
    for person in people:
        assert keys(person.rest) == keys(person.events) == expected
        assert all(file.motion.name == file.path.name.replace(SERIES, "motion.tsv") for file in person.rest)
        assert [file.series.name.run_key for file in person.events] == [file.name.run_key for file in person.events]


@pytest.mark.parametrize("written", ["02", "sub-02"])
def test_a_label_is_taken_with_and_without_its_key(tmp_path, written):
    bids, derived = study(tmp_path, ("01", "02", "03"))
    found = find(bids, derived, participant_label=(written,), session_label=("pre", "ses-pre"), task=("task-stroop",))
    assert [(person.label, keys(person.events)) for person in found] == [("02", ["preAP01", "prePA01", "prePA02"])]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"participant_label": ("031", "01")}, r"belongs to sub-031\. Did you mean sub-0?3?01"),
        ({"participant_label": ("7",)}, r"belongs to sub-7\. There is sub-01, sub-02, sub-301\."),
        ({"session_label": ("prae",)}, r"session_label: no file belongs to ses-prae\. Did you mean ses-pre\?"),
        ({"session_label": ("x",), "participant_label": ("01",)}, r"no file of those participants belongs to ses-x\. There is"),
        ({"task": ("stroopAP",)}, r"ingest\.task: no events file belongs to task-stroopAP\. Did you mean task-stroop\?"),
    ],
)  # fmt: skip
def test_a_label_that_nobody_has_ends_in_one_sentence_with_those_that_come_near(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        find(*study(tmp_path, ("01", "02", "301")), **options)


def test_tasks_are_chosen_by_bids_label_or_by_specification(tmp_path):
    bids, derived = study(tmp_path, ("01",))
    touch(bids, "01", "ses-pre_task-stroopPA", "ses-pre_task-hammerAP", ending="events.tsv")
    assert [spec.name for spec in wanted_specs(IngestConfig(task=("stroopPA", "rest")))] == ["stroop"]
    for wanted, number in ((("stroopPA",), 1), (("stroop",), 7), (("hammer", "stroopPA"), 2), ((), 8)):
        config = IngestConfig(task=wanted)
        (person,) = find(bids, derived, tasks=TaskSet(wanted_specs(config)), task=wanted)
        assert len(person.events) == number
        assert len(person.rest) == 6
    for wanted, message in (
        ("strop", r"none of.*reads task-strop\. Did you mean stroop\?"),
        ("rest", "names rest only"),
    ):
        with pytest.raises(UserError, match=message):
            wanted_specs(IngestConfig(task=(wanted,)))


@pytest.mark.parametrize(
    ("bold", "rest", "events"),
    [
        ({"session": "pre", "direction": "PA"}, 2, 2),
        ({"session": ["pre", "post"], "run": 2}, 2, 2),
        ({"run": ["2"], "ses": "ses-post"}, 1, 1),
        ({"direction": "*", "reconstruction": None, "datatype": "func", "suffix": "bold"}, 6, 6),
        ({"task": ["rest", "hammer"]}, 6, 0),
        ({"space": "MNI152NLin6Asym", "extension": ".nii.gz"}, 6, 6),
        ({"acquisition": [None, "mb"], "desc": None}, 6, 6),
    ],
)
def test_a_filter_file_means_what_it_means_to_fmriprep(tmp_path, capsys, bold, rest, events):
    path = filter_file(tmp_path, {"t1w": {"session": "pre"}, "bold": bold})
    (person,) = find(*study(tmp_path, ("01",)), bids_filter_file=path)
    assert (len(person.rest), len(person.events)) == (rest, events)
    assert capsys.readouterr().err.count("passed over: t1w; dtb reads") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bolt": {}}, r"no query 'bolt'\. Did you mean bold\?"),
        ({"bold": {"sesion": "1"}}, r"bold\.sesion is not a BIDS entity\. Did you mean session"),
        ({"bold": {"run": 1.5}}, r"bold\.run is 1\.5; expected a label"),
        ({"bold": {"run": True}}, r"bold\.run is true"),
        ({"bold": {"run": {"a": 1}}}, r'bold\.run is \{"a": 1\}'),
        ({"bold": {"run": []}}, r"bold\.run is \[\]"),
        ({"bold": {"suffix": "T1w"}}, r"bold\.suffix is T1w, but BOLD runs"),
        ({"bold": {"extension": ".dtseries.nii"}}, r"bold\.extension is \.dtseries\.nii.*ingest\.layout"),
        ({"bold": "pre"}, "holds no filters"),
        ([], "holds no filters"),
        ("{", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ({"bold": {"reconstruction": "*"}}, r"No resting-state series"),
        ({"bold": {"reconstruction": ["norm"]}}, r"No resting-state series"),
        ({"bold": {"space": "*", "acquisition": None}}, r"No resting-state series.*filter\.json"),
    ],
)
def test_a_filter_file_that_is_none_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        find(*study(tmp_path, ("01",)), bids_filter_file=filter_file(tmp_path, content))
    with pytest.raises(UserError, match=r"absent\.json is not readable"):
        find(*study(tmp_path / "other", ("01",)), bids_filter_file=tmp_path / "absent.json")


def test_rest_in_one_tree_and_task_series_in_another_are_one_person(tmp_path):
    bids, derived = study(tmp_path)
    for path in derived.glob("sub-02/ses-*/func/*task-stroop*"):
        other = tmp_path / "v2.1 [task]" / path.relative_to(derived)
        other.parent.mkdir(parents=True, exist_ok=True)
        path.rename(other)
    for person in find(bids, derived, tmp_path / "v2.1 [task]"):
        assert len(person.rest) == 6
        assert all(file.series is not None for file in person.events)
    again = find(bids, tmp_path / "v2.1 [task]", derived, participant_label=("02",))
    assert again == find(bids, derived, tmp_path / "v2.1 [task]", participant_label=("02",))
    shutil.copytree(derived, tmp_path / "copy")
    with pytest.raises(UserError, match=rf"several series of one run: {derived}.* and {tmp_path / 'copy'}"):
        find(bids, derived, tmp_path / "copy")


def test_what_lies_beside_a_series_is_taken_from_its_own_tree_first(tmp_path):
    bids, derived = study(tmp_path, ("01",))
    for path in derived.rglob("*motion.tsv"):
        other = tmp_path / "other" / path.relative_to(derived)
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
    for trees in ((derived, tmp_path / "other"), (tmp_path / "other", derived)):
        assert all(file.motion.is_relative_to(derived) for file in find(bids, *trees)[0].rest)
    next(derived.rglob("*ses-pre*dir-AP*motion.tsv")).unlink()
    motion = {file.motion.relative_to(tmp_path).parts[0] for file in find(bids, tmp_path / "other", derived)[0].rest}
    assert motion == {"other", "xcp_d"}


def test_the_kept_list_is_used_while_the_tree_is_as_it_was_and_no_longer(tmp_path, old, capsys):
    bids, derived = study(tmp_path)
    old()
    first = find(bids, derived)
    assert "list" not in capsys.readouterr().err
    func = bids / "sub-01" / "ses-pre" / "func"
    events = next(func.iterdir())

    def said() -> str:
        return capsys.readouterr().err

    assert find(bids, derived) == first
    assert f"{bids}: the list of 2 people's files comes from the cache" in said()

    events.write_text("onset\n")  # content is never kept
    assert find(bids, derived) == first
    assert "the list of 2 people's files" in said()

    added = func / f"sub-01_{FULL.format(ses='pre', task='stroop', way='AP', run='07')}_events.tsv"
    for change, number in ((added.touch, 7), (lambda: added.rename(added.with_name(added.name.replace("-07", "-08"))), 7),
                           (added.with_name(added.name.replace("-07", "-08")).unlink, 6)):  # fmt: skip
        old()
        change()
        old()
        found = find(bids, derived)
        assert len(found[0].events) == number
        assert "list of 1 people's files" in said().splitlines()[0]
    assert found == first
    old()
    shutil.rmtree(derived / "sub-02" / "ses-post")
    shutil.move(bids / "sub-01", bids / "sub-03")
    found = find(bids, derived)
    assert [(person.label, len(person.rest), len(person.events)) for person in found] == [("02", 3, 6), ("03", 0, 0)]
    assert "files in" in said()  # those in sub-03 are named sub-01


def test_a_folder_without_files_tells_when_it_gets_one(tmp_path, old):
    bids, derived = study(tmp_path, ("01",))
    (bids / "sub-02" / "ses-pre" / "func").mkdir(parents=True)
    old()
    assert [len(person.events) for person in find(bids, derived)] == [6, 0]
    old()
    touch(bids, "02", "ses-pre_task-stroop", ending="events.tsv")
    assert [len(person.events) for person in find(bids, derived)] == [6, 1]


def test_a_tree_that_changed_just_now_is_not_trusted_to_have_settled(tmp_path, capsys):
    trees = study(tmp_path)
    for _ in range(2):
        find(*trees)
        assert "kept" not in capsys.readouterr().err


def test_the_kept_list_is_the_users_alone_and_a_damaged_one_is_made_anew(tmp_path, old, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bids, derived = study(tmp_path)
    old()
    first = find(bids, derived)
    places = sorted((tmp_path / "cache" / "dtb" / "trees").iterdir())
    assert len(places) == 2
    assert all(place.stat().st_mode & 0o777 == 0o600 for place in places)
    assert places[0].parent.stat().st_mode & 0o777 == 0o700
    assert "sub-01" not in "".join(place.name for place in places)
    for place in places:
        place.write_bytes(place.read_bytes()[:100])
    assert find(bids, derived) == first
    assert capsys.readouterr().err.count("is damaged") == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache" / "dtb" / "trees" / places[0].name))
    assert find(bids, derived) == first
    assert "cannot be kept" in capsys.readouterr().err


def test_choosing_people_keeps_what_is_known_of_the_others(tmp_path, old, capsys):
    bids, derived = study(tmp_path)
    old()
    find(bids, derived, participant_label=("01",))
    find(bids, derived, participant_label=("02",))
    assert "kept" not in capsys.readouterr().err
    find(bids, derived)
    assert "the list of 2 people's files" in capsys.readouterr().err


def reason_of(person: PersonFiles) -> str:
    return read_person(PersonJob(person, "p", no_covariates()), ("a", "b"), TASKS, IngestConfig()).reason


def test_people_who_cannot_be_listed_are_rows_and_the_others_are_found(tmp_path):
    bids, derived = study(tmp_path, ("01", "02", "03", "04", "05", "06"))
    func = {label: bids / f"sub-{label}" / "ses-pre" / "func" for label in ("01", "02", "03", "04")}
    (func["01"] / "again").symlink_to(bids / "sub-01")
    (func["02"] / "sub-02_task-stroop_run-99999999999_events.tsv").touch()
    (Path(os.fsdecode(bytes(func["03"]) + b"/sub-03_task-stroop\xff_events.tsv"))).touch()
    (func["04"] / f"sub-04_{FULL.format(ses='pre', task='stroop', way='AP', run='1')}_events.tsv").touch()
    (bids / "sub-05" / "loop").symlink_to("loop")
    (bids / "sub-05" / "ses-pre" / "func" / "sub-05_task-stroop_run-3_events.tsv").symlink_to("nowhere")
    people = {person.label: person for person in find(bids, derived)}
    reasons = {label: reason_of(people[label]) for label in ("01", "02", "03", "04")}
    for label, expected in {
        "01": "again cannot be listed",
        "02": "cannot be indexed",
        "03": "cannot be indexed",
        "04": "several events files of one run, p_ses-pre",
    }.items():
        assert expected in reasons[label]
        assert f"sub-{label}" not in reasons[label]
    assert len(people["05"].events) == 7
    assert people["06"].events == find(bids, derived, participant_label=("06",))[0].events


def test_what_is_passed_over_is_said_with_a_count(tmp_path, capsys):
    bids, derived = study(tmp_path, ("01",))
    shutil.copytree(derived / "sub-01", derived / "sub-77")
    (bids / "sub-empty").mkdir()
    (bids / "sub-b_d").mkdir()
    (bids / "sub-Zoë").mkdir()
    touch(bids, "01", "task-stroop_copy", "task-", "run", "task-stroop_task-hammer", ending="events.tsv")
    (people, _) = find(bids, derived)
    said = capsys.readouterr().err
    assert len(people.events) == 6
    assert "1 people are in a derivative tree but not in" in said
    assert "did not read 2 folders" in said
    assert "did not read 4 files" in said
    assert "sub-empty was asked" not in said
    assert find(bids, derived, participant_label=("empty", "01"))[1].label == "empty"
    assert "sub-empty was asked for, but has no" in capsys.readouterr().err


part = st.sampled_from(["sub-01", "sub-02", "sub-", "ses-pre", "task-rest", "task-stroop", "task-", "dir-AP", "run-01", "run-1", "run-x",
                        "run-9" + "9" * 20, "seg-Toy", "copy", "", "-", "hemi-Q", "echo-²", "ü-ö", "[a]", "*", "space-a.b"])  # fmt: skip
names = st.builds(lambda parts, ending: "_".join([*parts, ending]), st.lists(part, max_size=6),
                  st.sampled_from(["events.tsv", "timeseries.tsv", "bold.json", "events", ".tsv", "motion.tsv", "events.tsv.gz"]))  # fmt: skip
folders = st.sampled_from(
    [
        "sub-01",
        "sub-02/func",
        "sub-01/ses-pre/func",
        "sub-01/func/func",
        "sub-",
        "sub-ü/func",
        "code",
        "sub-02/ses-/func",
    ]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.lists(st.tuples(folders, names), max_size=8),
    derived=st.lists(st.tuples(folders, names), max_size=8),
    links=st.lists(st.tuples(folders, st.sampled_from(["nowhere", "..", ".", "sub-01"])), max_size=2),
)
def test_whatever_the_trees_hold_people_are_found_or_there_is_a_sentence(tmp_path_factory, raw, derived, links):
    root = tmp_path_factory.mktemp("tree")
    for tree, files in (("bids", raw), ("derived", derived)):
        for folder, name in [*files, ("sub-01/func", "sub-01_task-rest_seg-Toy_timeseries.tsv")]:
            path = root / tree / folder / name.replace("/", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for folder, target in links:
        path = root / "bids" / folder / "sub-01_task-stroop_events.tsv"
        if path.parent.is_dir() and not os.path.lexists(path):
            path.symlink_to(target)
    try:
        people = find(root / "bids", root / "derived")
    except UserError as error:
        assert "several series of one run" in str(error) or "No resting" in str(error)  # noqa: PT017
        return
    assert all(file.path.is_file() for person in people for file in person.rest)
    assert all(file.name.entities["sub"] == person.label for person in people for file in person.events)
    assert all(person.label.isalnum() for person in people)


def test_cnp_people_are_found_with_every_task_and_what_the_raw_tree_says_of_rest(real_data, tmp_path):
    root = real_data / "cnp"
    config = IngestConfig(tasks=("stopsignal", "taskswitch", "scap", "bart"), layout="halfpipe")
    tasks = TaskSet(tuple(load_task(name) for name in config.tasks))
    people = index_people(root, (root / "derivatives" / "halfpipe",), config, tasks)
    written = sorted(path.name for path in root.glob("sub-*/func/*_events.tsv"))
    assert sorted(file.path.name for person in people for file in person.events) == [
        name for name in written if "pamenc" not in name and "pamret" not in name
    ]
    assert len(people) == 8
    for person in people:
        (rest,) = person.rest
        assert rest.raw_sidecars[0].name == f"sub-{person.label}_task-rest_bold.json"
    path = filter_file(tmp_path, {"bold": {"task": ["rest", "scap"], "feature": "corrMatrix5"}})
    with pytest.raises(UserError, match=r"bold\.feature is not a BIDS entity"):
        find(root, root / "derivatives" / "halfpipe", tasks=tasks, layout="halfpipe", bids_filter_file=path)
    path = filter_file(tmp_path, {"bold": {"task": ["rest", "scap"], "session": None}})
    people = find(root, root / "derivatives" / "halfpipe", tasks=tasks, layout="halfpipe", bids_filter_file=path)
    assert {tasks.specs[file.task_index].name for person in people for file in person.events} == {"scap"}
    assert [len(person.rest) for person in people] == [1] * 8


def test_sidecars_are_inherited_from_the_nearest_folder_that_has_one(tmp_path):
    bids, derived = study(tmp_path, ("01",))
    for path in [*bids.rglob("*_bold.json"), *derived.rglob("*.json")]:
        path.unlink()
    places = ["", "sub-01", "sub-01/ses-pre", "sub-01/ses-pre/func"]
    for place, name in [
        (0, "task-rest_bold.json"),
        (0, "task-rest_dir-AP_bold.json"),
        (0, "task-rest_acq-other_bold.json"),
        (1, "sub-01_task-rest_bold.json"),
        (1, "sub-02_task-rest_bold.json"),
        (2, "sub-01_ses-pre_bold.json"),
        (3, "sub-01_ses-pre_task-rest_dir-AP_run-1_bold.json"),
    ]:
        (bids / places[place] / name).write_text("{}")
    found = {file.name.run_label: [path.name for path in file.raw_sidecars] for file in find(bids, derived)[0].rest}
    ap, pa = (found[f"ses-{where}_run-1"] for where in ("pre_task-rest_acq-mb_dir-AP", "post_task-rest_acq-mb_dir-PA"))
    assert ap == [
        "sub-01_ses-pre_task-rest_dir-AP_run-1_bold.json",
        "sub-01_ses-pre_bold.json",
        "sub-01_task-rest_bold.json",
        "task-rest_dir-AP_bold.json",
        "task-rest_bold.json",
    ]
    assert pa == ["sub-01_task-rest_bold.json", "task-rest_bold.json"]


def test_a_label_with_a_space_is_not_as_bids_has_it_and_said(tmp_path, capsys):
    bids, derived = study(tmp_path, ("01",))
    path = next(bids.rglob("*task-stroop*_events.tsv"))
    path.rename(path.with_name(path.name.replace("task-stroop", "task-stroop AP")))
    before = len(list(bids.rglob("*_events.tsv")))
    assert sum(len(person.events) for person in find(bids, derived)) == before - 1
    assert "their names do not follow BIDS" in " ".join(capsys.readouterr().err.split())


def test_series_of_halfpipe_lie_in_folders_of_their_task_plain_or_compressed(tmp_path):
    func = tmp_path / "halfpipe" / "sub-1" / "func" / "task-rest"
    for folder in (func, tmp_path / "bids" / "sub-1" / "func"):
        folder.mkdir(parents=True)
    config = IngestConfig(tasks=("stroop",), layout="halfpipe", halfpipe_feature="corrMatrix1")
    for ending in (".tsv", ".tsv.gz"):
        path = func / f"sub-1_task-rest_feature-corrMatrix1_atlas-Toy_timeseries{ending}"
        path.touch()
        (func / f"sub-1_task-rest_feature-other_atlas-Toy_timeseries{ending}").touch()
        (person,) = index_people(tmp_path / "bids", (tmp_path / "halfpipe",), config, TASKS)
        assert [file.path for file in person.rest] == [path]
        path.unlink()


def test_the_raw_sidecar_of_the_magnitude_is_looked_at_and_that_of_the_phase_is_not(tmp_path):
    raw, func = tmp_path / "bids" / "sub-1" / "func", tmp_path / "xcp_d" / "sub-1" / "func"
    for folder in (raw, func):
        folder.mkdir(parents=True)
    (func / "sub-1_task-rest_seg-Toy_timeseries.tsv").touch()
    for part in ("mag", "phase"):
        for ending in ("nii.gz", "json"):
            (raw / f"sub-1_task-rest_part-{part}_bold.{ending}").touch()
    (person,) = index_people(tmp_path / "bids", (tmp_path / "xcp_d",), IngestConfig(tasks=("stroop",)), TASKS)
    assert [path.name for path in person.rest[0].raw_sidecars] == ["sub-1_task-rest_part-mag_bold.json"]


@pytest.mark.parametrize(
    ("series", "events", "differences"),
    [
        ("ses-pre_task-stroop_acq-mb_run-1", "ses-pre_task-stroop_run-1", (("acq", "mb", ""),)),
        ("ses-pre_task-stroop_run-1", "ses-pre_task-stroop", (("run", "1", ""),)),
        ("ses-pre_task-stroop", "ses-01_task-stroop", (("ses", "pre", "01"),)),
        ("ses-pre_task-stroop_dir-AP", "ses-pre_task-stroop_acq-mb_dir-PA", (("acq", "", "mb"), ("dir", "AP", "PA"))),
    ],
)
def test_a_task_series_that_meets_no_events_is_named_with_the_nearest_events_and_what_parts_them(
    tmp_path, series, events, differences
):
    bids, derived = tmp_path / "bids", tmp_path / "xcp_d"
    touch(bids, "01", events, "ses-pre_task-stroop_acq-far_dir-LR_run-9", ending="events.tsv")
    touch(derived, "01", series, "ses-pre_task-rest", "ses-pre_task-other", ending=SERIES)
    (person,) = find(bids, derived)
    (unmet,) = person.unmet
    assert unmet.path.name == f"sub-01_{series}_{SERIES}"
    assert (unmet.nearest.name, unmet.differences) == (f"sub-01_{events}_events.tsv", differences)
    assert all(file.series is None for file in person.events)
    read = read_person(PersonJob(person, "p1", no_covariates()), ("a", "b"), TASKS, IngestConfig())
    said = [each.reason for each in read.left_out if each.run == f"p1_{series}_{SERIES}"]
    key, here, there = differences[0]
    assert (
        f"p1_{events}_events.tsv, the nearest, differs in {key}- ({here or 'none'} here, {there or 'none'} there)"
        in said[0]
    )


def test_a_task_series_of_somebody_without_any_events_of_the_task_is_named_too_and_one_that_meets_them_is_not(tmp_path):
    bids, derived = study(tmp_path, ("01",))
    assert find(bids, derived)[0].unmet == ()
    touch(derived, "01", "ses-pre_task-hammer", ending=SERIES)
    ((unmet,),) = (person.unmet for person in find(bids, derived))
    assert (unmet.path.name, unmet.nearest) == (f"sub-01_ses-pre_task-hammer_{SERIES}", None)
    assert find(bids, derived, tasks=TaskSet((load_task("stroop"),)))[0].unmet == ()
