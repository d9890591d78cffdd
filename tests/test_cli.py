"""The command line: options win over the file, which wins over the defaults; mistakes end with 2 and one message."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dtb.cli.command_line import parse
from dtb.cli.completion import completion_script
from dtb.cli.entry import exit_code
from dtb.cli.help import help_text
from dtb.commands import COMMANDS, STAGES
from dtb.commands.options import options_of
from dtb.config import Config, from_mapping


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("seed: 5\ntrain: {num_workers: 7, batch_size: 3}\ntwin: {num_hidden: 9}\n")
    _, config = parse("train", ["shards", "out", "--config", str(path), "--num-workers", "4", "--twin.rank", "2"])
    assert (config.seed, config.train.num_workers, config.train.batch_size) == (5, 4, 3)
    assert (config.twin.num_hidden, config.twin.rank) == (9, 2)
    assert config.train.max_epochs == Config().train.max_epochs


def test_the_names_of_the_yaml_file_hold_on_every_command_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\n")
    dotted = ["--train.num-workers", "3", "--cluster.num-cpus", "2"]
    assert parse("train", ["shards", "out", *dotted])[1].train == parse("run", [str(path), *dotted])[1].train
    assert parse("run", ["--dry-run", str(path), *dotted])[1].cluster.num_cpus == 2


@pytest.mark.parametrize(("stage", "places"), [("ingest", ["bids", "out"]), ("run", ["configs/demo.yaml", "out"])])
def test_people_sessions_and_tasks_are_chosen_as_in_other_bids_apps(stage: str, places: list[str]) -> None:
    options = "--participant-label 01 sub-02 --session_label pre --task=stroop --bids-filter-file filter.json"
    _, config = parse(stage, [*places, *options.split()])
    assert config.ingest.participant_label == ("01", "sub-02")
    assert (config.ingest.session_label, config.ingest.task) == (("pre",), ("stroop",))
    assert config.ingest.bids_filter_file == Path("filter.json").resolve()


@pytest.mark.parametrize("name", STAGES)
def test_printed_configuration_reads_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("seed: 11\n")
    given = [str(path)] if name == "run" else ["--config", str(path)]
    assert exit_code([name, *given, "--print-config"]) == 0
    assert from_mapping(Config, yaml.safe_load(capsys.readouterr().out), "printed") == Config(seed=11)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_on_a_screen_and_all_options_stand_behind_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert exit_code([name, "--help"]) == 0
    short = capsys.readouterr().out.splitlines()
    assert exit_code([name, "--help-all"]) == 0
    whole = capsys.readouterr().out
    assert len(short) <= 40
    assert any(line.startswith("Example") for line in short)
    assert all(len(line) <= 80 for line in [*short, *whole.splitlines()] if not line.startswith("  dtb "))
    options = {option.name for option in options_of(COMMANDS[name]) if not option.is_place}
    common = [line.split()[0] for line in short if line.startswith("  --")]
    assert len(common) <= 10
    assert set(common) <= options
    assert len(common) >= min(len(options), 6)
    assert options == {line.split()[0] for line in whole.splitlines() if line.startswith("  --")}
    if name in STAGES:
        assert {"--resume", "--dry-run"} <= set(common)


def test_help_names_options_as_the_parser_does() -> None:
    known = set(re.findall(r"--[a-z][\w.-]*", completion_script("bash")))
    named = {option.name for kind in COMMANDS.values() for option in options_of(kind) if not option.is_place}
    assert {"--no-relmat", "--num-workers"} <= named <= known


def test_help_says_what_an_option_takes_and_its_default() -> None:
    assert "  --num-workers INT       Ray Train workers (ranks). [2]\n" in help_text("train", COMMANDS["train"])


@pytest.mark.slow
def test_help_and_a_dry_run_import_nothing_that_takes_long(tmp_path: Path) -> None:
    """A ratio, for the machine may be busy: PyTorch alone takes longer to import than both, and used to be imported by each."""
    asked = f"""
import sys, time
from dtb.cli.entry import exit_code
assert exit_code(["--help"]) == 0
helped = time.process_time()
slow = {{"tyro", "pydantic", "rich", "numpy"}} - before & set(sys.modules)
assert not slow, slow
assert exit_code(["run", {str(Path(__file__).parent.parent / "configs" / "demo.yaml")!r}, {str(tmp_path / "run")!r}, "--dry-run"]) == 0
planned = time.process_time()
slow = {{"torch", "ray", "deepspeed", "nilearn", "sklearn", "matplotlib", "scipy.stats"}} & set(sys.modules)
assert not slow, slow
import torch
print("\\n", helped - began, planned - helped, time.process_time() - planned)
"""
    program = f"import sys, time\nbefore = set(sys.modules)\nbegan = time.process_time()\n{asked}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    helped, planned, torch = map(float, done.stdout.splitlines()[-1].split())
    assert helped < torch / 10
    assert planned < torch


def test_square_brackets_in_a_path_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[bold]cohort[dim]"
    folder.mkdir()
    assert exit_code(["shards", "info", str(folder)]) == 2
    assert "[bold]cohort[dim]" in capsys.readouterr().err


def test_overview_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if re.match("  [a-z]", line)] == list(COMMANDS)
    assert "Research use only" in text


@pytest.mark.parametrize("columns", [80, 120])
def test_the_overview_is_wrapped_to_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert exit_code(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainn"], ["no stage 'trainn'", "dtb train"]),
        (["train", "a", "b", "--num-wokers", "3"], ["--num-wokers", "--num-workers"]),
        (["train", "a", "b", "--num-workers", "0"], ["--num-workers is 0: ", "greater than or equal to 1.\n"]),
        (
            ["train", "a", "b", "--segments.segment-seconds", "0"],
            ["--segments.segment-seconds is 0", "greater than 0.\n"],
        ),
        (["train", "a", "b", "--segments.segment-seconds", "9"], ["segments`: `burn_in_seconds` is 20; it", " (9).\n"]),
        (["run", "c.yaml", "b", "--split.kind", "x"], ["--split.kind", "temporal"]),
        (["plan", "b", "--people", "10"], ["--people is 10: ", "greater than or equal to 20.\n"]),
        (["train", "a", "b", "--seed", "-1"], ["--seed is -1: ", "greater than or equal to 0.\n"]),
        (["train", "a", "b", "--config", "nowhere.yaml"], ["nowhere.yaml is not a file"]),
        (["train", "a", "b", "--max-epochs", "x"], ["--max-epochs", "'x'"]),
        (["plan", "b", "--claim", "memory"], ["--claim", "mean_rt", "condition_rt"]),
        (["train", "only-one"], ["OUT"]),
        (["run"], ["CONFIG"]),
        (["train", "nowhere", "out"], ["nowhere"]),
        (["evaluate", "nowhere", "neither", "out"], ["nowhere"]),
        (["ingest", "nowhere", "out", "--derivatives", "neither"], ["nowhere"]),
        (["ingest", "nowhere", "out"], ["--derivatives"]),
        (["report", "nowhere", "out"], ["nowhere"]),
        (["watch", "nowhere"], ["nowhere does not exist or is not a folder"]),
    ],
)
def test_a_mistake_ends_with_2_and_one_message(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    code = exit_code(arguments)
    printed = capsys.readouterr()
    assert code == 2
    assert printed.err.startswith(f"dtb {arguments[0]}: ") or arguments == ["trainn"]
    assert "\N{BOX DRAWINGS LIGHT VERTICAL}" not in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert "validation error" not in printed.err + printed.out
    for word in words:
        assert word in printed.err + printed.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "a", "b", "--checkpoints-kept"],
            "--checkpoints-kept lacks a value:\n    --checkpoints-kept INT\n        ",
        ),
        (
            ["train", "a", "b", "--num-wokers", "3"],
            "Unrecognized options: --num-wokers, 3\nPerhaps you meant --num-workers",
        ),
        (["train", "a", "b", "--rank", "3"], "Unrecognized options: --rank, 3\nPerhaps you meant --twin.rank.\n"),
        (["train", "a", "b", "--max-steps", "many"], "--max-steps is 'many'; expected None or a whole number.\n"),
        (["train", "a", "b", "--train.learning-rate=fast"], "--learning-rate is 'fast'; expected a number.\n"),
        (["plan", "b", "--claim", "memory"], "--claim is 'memory'; expected one of mean_rt, condition_rt.\n"),
        (
            ["train"],
            "Missing from the command line:\n    SHARDS\n        Folder that `dtb ingest` wrote, or the URL of a copy",
        ),
    ],
)
def test_what_the_parser_refuses_is_told_in_lines_of_its_own_however_narrow_the_terminal(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert exit_code(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"dtb {arguments[0]}: {message}")
    assert ("In this order: dtb train SHARDS OUT" in told) == message.startswith("Missing")
    assert told.endswith(f"`dtb {arguments[0]} --help` explains the options.\n")


def test_a_cohort_with_too_few_edges_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["synth", str(tmp_path / "out"), "--num-regions", "12"]) == 2
    assert "At most 13 fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 2), (errno.ENOTDIR, 2), (errno.ENOSPC, 1)])
def test_what_the_system_refuses_is_told_in_one_line(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/data/out")

    monkeypatch.setattr("dtb.groundtruth.synthesise.synthesise", refuse)
    assert exit_code(["synth", str(tmp_path / "out")]) == code
    assert capsys.readouterr().err == f"dtb synth failed: {os.strerror(number)}: /data/out\n"


def test_paths_hold_wherever_a_worker_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage, config = parse("ingest", ["bids", "out", "--derivatives", "one", "two", "--region-labels", "names.tsv"])
    assert (stage.bids, stage.derivatives) == (tmp_path / "bids", (tmp_path / "one", tmp_path / "two"))
    assert config.ingest.region_labels == tmp_path / "names.tsv"


def test_bash_completes_stages_and_the_options_of_a_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--completion", "bash"]) == 0
    script = tmp_path / "dtb.bash"
    script.write_text(capsys.readouterr().out, encoding="utf-8")

    def completed(*words: str) -> set[str]:
        line = " ".join(words)
        asked = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}; "
            "$(complete -p dtb | sed 's/.*-F \\([^ ]*\\).*/\\1/') dtb; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        return set(found.stdout.split())

    assert completed("dtb", "tr") == {"train", "trial"}
    assert completed("dtb", "report", "--pers") == {"--person-pages"}


def test_fish_completes_stages_and_the_options_of_a_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("needs fish: `apt install fish`")
    assert exit_code(["--completion", "fish"]) == 0
    script = tmp_path / "dtb.fish"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    asked = f"source {script}; complete -C 'dtb tr'; complete -C 'dtb report --pers'"
    found = subprocess.run(["fish", "--no-config", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert [line.split("\t")[0] for line in found.splitlines()] == ["train", "trial", "--person-pages"]


@pytest.mark.slow
def test_zsh_completes_the_options_of_a_stage_as_they_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh: `apt install zsh`")
    assert exit_code(["--completion", "zsh"]) == 0
    (tmp_path / "dtb.zsh").write_text(capsys.readouterr().out, encoding="utf-8")
    (tmp_path / "typed.zsh").write_text(
        f"""zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=""; autoload -U compinit; compinit -u -D; source {tmp_path}/dtb.zsh; echo LOAD""ED'
zpty -r -m shell out '*LOADED*'
zpty -w -n shell $'dtb report --pers\\t'
zpty -r -m shell out '*--person-pages*' && print completed
zpty -d shell
"""
    )
    typed = ["zsh", "-f", str(tmp_path / "typed.zsh")]
    found = subprocess.run(typed, capture_output=True, text=True, check=False, timeout=60)
    assert found.stdout.strip() == "completed"


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--completion", "csh"]) == 2
    assert "expected one of bash, zsh, fish" in capsys.readouterr().err
