"""A password in a URL is said and written nowhere, wherever it was given."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dtb.cli.entry import exit_code
from dtb.config import ClusterConfig, Config, InputConfig, LaunchConfig
from dtb.errors import StageError, UserError
from dtb.files import write_json, write_table, write_text
from dtb.terminal import err

URL = "https://me:hush@host.invalid/cohort"

PLACES = {
    "shards": ["train", URL, "out"],
    "shards of an evaluation": ["evaluate", URL, "trained", "out"],
    "an output folder": ["train", "shards", URL],
    "a tree": ["ingest", URL, "out", "--derivatives", "d"],
    "derivatives": ["ingest", "bids", "out", "--derivatives", URL],
    "an option of a run": ["run", "settings.yaml", "out", "--input.shards", URL],
    "a configuration": ["run", "secret.yaml", "out"],
    "the name of a configuration": ["run", URL, "out"],
    "a cluster's address": ["train", "shards", "out", "--ray-address", URL],
    "a job server's address": ["submit", "settings.yaml", "/out", "--address", URL],
    "a job's output folder": ["submit", "settings.yaml", URL, "--address", "http://127.0.0.1:1"],
    "a container's image": ["submit", "settings.yaml", "/out", "--launch.image", URL],
    "a tracker's project": ["train", "shards", "out", "--track.project", URL],
    "an unknown option": ["train", "shards", "out", f"--shard={URL}"],
    "a number": ["train", "shards", "out", "--max-steps", URL],
    "shards to look at": ["shards", "verify", URL],
    "a settings file": ["run", "settings.yaml", "out", "--train.deepspeed", URL, "--dry-run"],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_command_refuses_it_unseen(tmp_path, monkeypatch, capfd, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("name: mine\n")
    (tmp_path / "secret.yaml").write_text(f"input: {{shards: '{URL}'}}\n")
    assert exit_code(PLACES[place]) == 2
    said = "".join(capfd.readouterr())
    assert said.strip()
    assert "hush" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"settings.yaml", "secret.yaml"}


@pytest.mark.parametrize(
    ("section", "option"),
    [(ClusterConfig, "ray_address"), (InputConfig, "shards"), (LaunchConfig, "image"), (Config, "name")],
)
def test_python_refuses_it_unseen(section, option):
    with pytest.raises(ValidationError, match="holds a URL with a password") as found:
        section(**{option: URL})
    assert "hush" not in str(found.value)


def test_what_a_library_says_of_it_is_cleaned_wherever_it_goes(tmp_path, capfd):
    """Of a proxy in the environment, for example."""
    said = f"cannot reach {URL}"
    write_text(tmp_path / "a", said)
    write_json(tmp_path / "b", {"why": said})
    write_table(tmp_path / "c", [[said]])
    err.print(said)
    written = [path.read_text() for path in tmp_path.iterdir()]
    for text in [*written, capfd.readouterr().err, str(UserError(said)), str(StageError(said))]:
        assert "hush" not in text
        assert "https://(withheld)@host.invalid/cohort" in text


def test_a_fault_of_ours_is_told_without_it(monkeypatch, capfd):
    def fail(*_: object) -> None:
        raise RuntimeError(f"no route to {URL}")

    monkeypatch.setattr("dtb.cli.command_line.parse", fail)
    assert exit_code(["train"]) == 1
    said = capfd.readouterr().err
    assert "RuntimeError: no route to https://(withheld)@host.invalid/cohort" in said
    assert "hush" not in said
