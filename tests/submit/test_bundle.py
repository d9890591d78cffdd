"""What travels with a job: the configuration and the small text files that it names, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dtb.cli.command_line import parse
from dtb.cli.entry import exit_code
from dtb.config import Config, load_config
from dtb.errors import ConfigurationError
from dtb.shards.remote import url_of
from dtb.submit.bundle import MAX_MIB, Bundle, pack


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the person who submits."""
    folder = tmp_path / "my files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "mine.yaml").write_text("name: mine\n")
    (folder / "zero.json").write_text("{}\n")
    (folder / "data").mkdir()
    return folder


def packed(*options: str, out: str = "/shared/run") -> tuple[Bundle, Config]:
    _, config = parse("submit", ["mine.yaml", out, *options])
    return pack(config, out, resume=False), config


def test_relative_text_files_travel_and_absolute_paths_are_the_cluster_s(here: Path, tmp_path: Path) -> None:
    (here / "own.yaml").write_text("a task\n")
    options = ["--ingest.tasks", "stroop", "own.yaml", "/shared/theirs.yaml", "--train.deepspeed", "zero.json"]
    bundle, _ = packed(*options, "--input.bids", "/data/bids", "--input.derivatives", "/data/d")
    bundle.write(tmp_path / "sent")
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["1-own.yaml", "2-zero.json", "config.yaml"]
    there = load_config(tmp_path / "sent" / "config.yaml")
    assert there.ingest.tasks == ("stroop", "/shared/run.submitted/1-own.yaml", "/shared/theirs.yaml")
    assert there.train.deepspeed == Path("/shared/run.submitted/2-zero.json")
    assert (there.input.bids, there.input.derivatives) == (Path("/data/bids"), (Path("/data/d"),))
    assert there.cluster.ray_address == "auto"


def test_the_shell_line_puts_the_files_beside_the_run_and_becomes_the_command(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "a shared folder" / "run"
    bundle, _ = packed("--train.deepspeed", "zero.json", out=str(out))
    bundle.write(tmp_path / "sent")
    line = bundle.shell_line(str(tmp_path / "sent")).replace("exec python", "exec echo python")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    place = tmp_path / "a shared folder" / "run.submitted"
    assert done.stdout.strip() == f"python -m dtb run {place}/config.yaml {out}"
    assert {path.name for path in place.iterdir()} == {"config.yaml", "1-zero.json"}
    assert load_config(place / "config.yaml").train.deepspeed == place / "1-zero.json"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--input.bids", "data", "input.bids is 'data', a relative path and a folder"),
        ("--train.deepspeed", "absent.json", "train.deepspeed is 'absent.json', a relative path and not there"),
        ("--ingest.tasks", "absent.yaml", "ingest.tasks is 'absent.yaml'"),
        ("--ingest.atlas", "atlas.nii.gz", "ingest.atlas is 'atlas.nii.gz', a relative path and no text file"),
    ],
)
def test_data_do_not_travel(here: Path, option: str, value: str, words: str) -> None:
    (here / "atlas.nii.gz").write_bytes(b"0")
    with pytest.raises(ConfigurationError) as refused:
        packed(option, value)
    assert words in str(refused.value)
    assert "absolute path" in str(refused.value)


def test_shards_at_a_url_are_named_and_do_not_travel(here: Path) -> None:
    bundle, _ = packed("--input.shards", "s3://bucket/cohort/shards")
    assert not bundle.files
    bundle.write(here / "sent")
    there = load_config(here / "sent" / "config.yaml")
    assert url_of(there.input.shards) == "s3://bucket/cohort/shards"


def test_a_relative_run_folder_and_a_large_file_are_refused(here: Path) -> None:
    with pytest.raises(ConfigurationError, match="OUT is 'runs/mine', a relative path"):
        packed(out="runs/mine")
    (here / "large.json").write_bytes(b" " * int(MAX_MIB * 2**20))
    with pytest.raises(ConfigurationError, match=r"the largest file is large\.json"):
        packed("--train.deepspeed", "large.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs one of four"),
        (["mine.yaml", "/shared/run", "--stop", "job"], "needs one of four"),
        (["mine.yaml"], "OUT is missing"),
        (["mine.yaml", "/shared/run"], "--address is missing"),
        (["secret.yaml", "/shared/run"], "expected the name of an environment variable, and never its value"),
    ],
)
def test_a_mistake_is_explained(
    here: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "secret.yaml").write_text("launch: {secrets: [KEY=hush-hush]}\n")
    assert exit_code(["submit", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "hush" not in said


def test_a_secret_s_value_on_the_command_line_is_not_repeated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "mine.yaml", "--launch.secrets", "KEY=hush-hush"]) == 2
    printed = capsys.readouterr()
    assert "hush" not in printed.out + printed.err


def test_a_dry_run_says_what_would_travel_and_sends_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--train.deepspeed", "zero.json", "--launch.secrets", "WANDB_API_KEY", "--dry-run"]
    assert exit_code(["submit", "mine.yaml", "/shared/run", *options]) == 0
    said = capsys.readouterr().out
    for words in ("1-zero.json  (from zero.json)", "dtb run /shared/run.submitted/config.yaml", "WANDB_API_KEY"):
        assert words in said
    assert "Nothing was sent." in said


@pytest.mark.parametrize(
    ("command", "there"),
    [
        (
            "sweep /data/shards /shared/out --config mine.yaml --folds 0 1 --set twin.rank=3,4 --deepspeed zero.json",
            "sweep /data/shards /shared/out --config {place}/config.yaml --folds 0 1 --set twin.rank=3,4",
        ),
        (
            "trial mine.yaml s3://data/shards /data/trained /shared/out --fleet.num-actors 3 --resume",
            "trial {place}/1-mine.yaml s3://data/shards /data/trained /shared/out --config {place}/config.yaml --resume",
        ),
        (
            "evaluate /data/shards /data/trained /shared/out --truth /data/truth --config mine.yaml",
            "evaluate /data/shards /data/trained /shared/out --config {place}/config.yaml --truth /data/truth",
        ),
    ],
)
def test_any_stage_travels_with_its_places_its_options_and_the_files_that_it_names(here, command, there, capsys):
    assert exit_code(["submit", "--dry-run", "--", *command.split()]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"The job: python -m dtb {there.format(place='/shared/out.submitted')} Nothing was sent." in said


def test_what_is_sent_of_a_stage_is_its_configuration_with_that_of_the_job(here, capsys):
    (here / "mine.yaml").write_text("name: mine\nlaunch: {node_cpus: 3, max_hours: 5}\ntrain: {num_workers: 3}\n")
    job = ["submit", "--render", "slurm", "--launch.max-hours", "1"]
    stage = [
        "sweep",
        "/data/shards",
        "/shared/out",
        "--config",
        "mine.yaml",
        "--seed",
        "7",
        "--variables",
        "NCCL_DEBUG",
    ]
    assert exit_code([*job, "--", *stage]) == 0
    script = capsys.readouterr().out
    text = script.split("config.yaml <<'END_OF_FILE'\n")[1].split("\nEND_OF_FILE")[0]
    (here / "sent.yaml").write_text(text)
    sent = load_config(here / "sent.yaml")
    assert (sent.name, sent.seed, sent.train.num_workers, sent.launch.node_cpus) == ("mine", 7, 3, 3)
    assert (sent.launch.max_hours, sent.cluster.variables, sent.cluster.ray_address) == (1, ("NCCL_DEBUG",), "auto")
    assert "#SBATCH --time=60\n" in script
    assert "python -m dtb sweep /data/shards /shared/out --config /shared/out.submitted/config.yaml --resume" in script


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--", "doctor"], "After `--` stands a stage with what it takes, not 'doctor'"),
        (["--"], "After `--` stands a stage"),
        (["mine.yaml", "/shared/run", "--", "train", "/data/shards", "/shared/out"], "CONFIG and OUT stand there"),
        (["--", "train", "data", "/shared/out"], "dtb train: SHARDS is 'data', a relative path and a folder"),
        (["--", "train", "/data/shards", "out"], "OUT is 'out', a relative path"),
        (["--stop", "job", "--", "train", "/data/shards", "/shared/out"], "needs one of four"),
        (["--", "train", "/data/shards", "/shared/out", "--num-wokers", "3"], "--num-workers"),
    ],
)
def test_a_mistake_in_what_follows_is_explained(here, arguments, words, capsys):
    assert exit_code(["submit", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
