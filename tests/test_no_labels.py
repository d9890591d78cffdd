"""No byte that any stage writes or prints holds a participant label, but those of `*.identities.tsv`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dtb.cli.entry import exit_code
from dtb.config import (
    Config,
    IngestConfig,
    SplitConfig,
    SynthConfig,
    TrackConfig,
    TrainConfig,
    TwinConfig,
    load_config,
    to_yaml,
)
from dtb.errors import ConfigurationError
from dtb.submit.bundle import pack

SMALL = Config(
    synth=SynthConfig(num_subjects=8, num_regions=10, num_causal_edges=4, rest_seconds=130, tasks=("hammer",)),
    ingest=IngestConfig(tasks=("hammer",)),
    twin=TwinConfig(num_hidden=8, encoder_widths=(8,), latent_size=4, rank=2, step_seconds=0.1),
    train=TrainConfig(num_workers=1, batch_size=4, max_steps=2),
    split=SplitConfig(num_folds=2),
    track=TrackConfig(wandb="off"),
)
MARK = "Zqxwv7"
SIGN = MARK.lower().encode()


def renamed(cohort: Path) -> list[str]:
    """Label everybody of a made-up cohort so that it stands out; return the labels."""
    for path in sorted(cohort.rglob("*sub-*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.replace("sub-", f"sub-{MARK}")))
    table = cohort / "bids" / "participants.tsv"
    table.write_text(table.read_text().replace("sub-", f"sub-{MARK}"))
    # Of people who really are: with the seed anybody could make the pseudonyms.
    (cohort / "bids" / "dataset_description.json").write_text('{"Name": "people", "BIDSVersion": "1.10.0"}')
    return sorted(path.name.removeprefix("sub-") for path in (cohort / "bids").glob("sub-*"))


def files_with_labels(*folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*")]
    return [
        path
        for path in files
        if SIGN in str(path).lower().encode() or (path.is_file() and SIGN in path.read_bytes().lower())
    ]


@pytest.mark.cluster
@pytest.mark.slow
def test_nothing_that_identifies_leaves_the_identities(tmp_path, capfd):
    import ray

    from dtb.groundtruth.synthesise import synthesise

    synthesise(SMALL, tmp_path / "cohort", resume=False)
    labels = renamed(tmp_path / "cohort")
    bids, derived = tmp_path / "cohort" / "bids", tmp_path / "cohort" / "derivatives" / "xcp_d"
    broken = bids / f"sub-{labels[0]}" / "func"
    for events in broken.glob("*_events.tsv"):
        events.write_text(f"onset\tduration\ttrial_type\n1\t1\t{labels[0]}99\n")
    twice = next((derived / f"sub-{labels[1]}" / "func").glob("*rest*timeseries.tsv"))
    twice.with_name(twice.name.replace("_task-rest", "_task-rest_acq-other")).write_bytes(twice.read_bytes())
    (derived / f"sub-{MARK}stranger" / "func").mkdir(parents=True)
    capfd.readouterr()

    run, settings = tmp_path / "run", tmp_path / "settings.yaml"
    run.mkdir()
    settings.write_text(to_yaml(SMALL))
    ingest = ["ingest", str(bids), str(run / "shards"), "--derivatives", str(derived), "--config", str(settings)]
    chosen = ["--participant-label", *labels]
    refused = exit_code([*ingest, *chosen, "--max-quarantined-fraction", "0"])
    assert refused == 2
    assert exit_code([*ingest[:2], str(run / "other"), *ingest[3:], "--participant-label", f"{MARK}nobody"]) == 2
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    out = [*ingest[:2], str(run / "read"), *ingest[3:]]
    assert exit_code([*out, *chosen]) == 0
    assert exit_code(["train", str(run / "read"), str(run / "train"), "--config", str(settings)]) == 0
    assert exit_code(["report", str(run), str(run / "report"), "--config", str(settings)]) in (0, 2)
    # What is printed here goes into a job's log.
    printed = "".join(capfd.readouterr())
    assert SIGN not in printed.lower().encode(), [line for line in printed.splitlines() if MARK.lower() in line.lower()]
    logs = Path(ray._private.worker._global_node.get_session_dir_path())
    named = files_with_labels(run, logs)
    assert {path.name for path in named} == {"shards.identities.tsv", "read.identities.tsv"}
    assert "(withheld)" in (run / "read" / "config.yaml").read_text()
    # Other people under the same settings are not gone on with.
    (run / "read" / "stage.json").write_text(
        (run / "read" / "stage.json").read_text().replace('"complete": true', '"complete": false')
    )
    assert exit_code([*out, "--participant-label", *labels[:-1], labels[2], "--resume"]) == 2
    assert "participant_label does not name now" in capfd.readouterr().err


def test_a_job_takes_a_file_of_labels_and_no_labels(tmp_path):
    with pytest.raises(ConfigurationError, match="labels do not travel with a job"):
        pack(Config(ingest=IngestConfig(participant_label=(f"{MARK}1",))), "/shared/out", resume=False)
    bundle = pack(Config(ingest=IngestConfig(participant_label=("/shared/labels.txt",))), "/shared/out", resume=False)
    assert yaml.safe_load(bundle.config)["ingest"]["participant_label"] == ["/shared/labels.txt"]


def test_a_configuration_that_was_written_asks_for_the_labels_again(tmp_path):
    from dtb.cohort.bids.selection import read_selection

    given = IngestConfig(participant_label=("sub-01", str(tmp_path / "more.txt")))
    (tmp_path / "more.txt").write_text("02\n\nsub-03\n")
    assert read_selection(given).participants == {"01", "02", "03"}
    (tmp_path / "config.yaml").write_text(to_yaml(Config(ingest=given)))
    with pytest.raises(ConfigurationError, match="hold no labels"):
        read_selection(load_config(tmp_path / "config.yaml").ingest)
