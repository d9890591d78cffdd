"""Every command of the documentation is run as it stands, on few people and for few epochs, in places that stand in for those it names.

A page's commands are run one after the other in a folder of the page's own, so each finds what those before it made. Both the
tutorial and the other pages are walked on request, for their commands take long.
"""

from __future__ import annotations

import functools
import http.server
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from dtb.cli.entry import exit_code
from dtb.shards.manifest import Manifest
from tests.docs.pages import ROOT, commands
from tests.docs.stand_ins import SMALL, make_small_things, make_study, make_tcp

pytestmark = pytest.mark.cluster
PAGES = sorted({page for page, _ in commands()})
TUTORIAL = "tutorial.md"
ELSEWHERE = {  # what is not run here, and what runs it
    "bash scripts/demo": "`dtb run configs/demo.yaml`, run here, in an environment that it makes",
    "bash scripts/test": "these tests",
    "source .venv/bin/activate": "the environment",
    "dtb view": "tests/view/test_browser.py and test_serve.py: it stays until it is ended",
    "dtb submit --address": "tests/submit/test_jobs.py, on a cluster with a job server",
    "dtb submit configs/demo.yaml /shared/runs/demo --address": "the same",
    "dtb ingest hcp-bids": "tests/tasks/test_hcp.py: series in HCP's layout are nowhere to be had",
    "dtb task from-hcp": "the same",
    "python scripts/learning": "hours",
}
SMALLER = {
    "synth": {f"synth.{name}": value for name, value in SMALL.items()},
    "ingest": {},
    "train": {"train.max-epochs": 1, "train.batch-size": 4, "train.num-workers": 1, "twin.num-hidden": 8},
    "evaluate": {"evaluate.num-bootstrap": 100},
    "simulate": {"simulate.num-draws": 2, "fleet.num-actors": 1, "fleet.gpus-per-actor": 0},
    "intervene": {"intervene.num-steps": 2, "fleet.num-actors": 1},
    "trial": {"fleet.num-actors": 1},
    "report": {"report.person-pages": 1},
}
SMALLER["sweep"] = SMALLER["train"]
SMALLER["run"] = {name: value for options in SMALLER.values() for name, value in options.items()}
SMALLER["plan"] = {"plan.num-cohorts": 10, "synth.num-regions": 12, "synth.num-causal-edges": 6}
WRITES = {"synth": 2, "ingest": 3, "train": 3, "sweep": 3, "run": 3}
"""Which word names the folder that a command makes."""
SHORTER = (
    (" --train.use-gpu", ""),
    (" --use-gpu", ""),
    ("atlas-Toy116", "atlas-Toy12"),
    ("--folds 0 1 2 --seeds 1 2 3", "--folds 0 --seeds 1"),
    ("--seeds 1 2 3 4", "--seeds 1"),
    ("--people 100 200 400", "--people 20 40"),
    (" --gpus-per-worker 0.25", ""),
    (" runs/evaluated2 runs/evaluated3 runs/evaluated4", ""),
)


def smaller(line: str) -> list[str]:
    """Return the words of a command, with options that make it quick in place of those that it has."""
    for long, short in SHORTER:
        line = line.replace(long, short)
    words = shlex.split(line)
    if "--dry-run" in words and words[1] != "synth":
        return words
    for name, value in SMALLER.get(words[1], {}).items():
        section, _, option = name.partition(".")
        own = {"sweep": "train"}.get(words[1], words[1])
        written = f"--{option}" if section == own else f"--{name}"
        if written in words:
            words[words.index(written) + 1] = str(value)
        else:
            words += [written, str(value)]
    return words


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished run of `configs/demo.yaml`, with a second fold, the places under / that pages name, and a server of shards."""
    root = tmp_path_factory.mktemp("world")
    call(f"dtb run {ROOT}/configs/demo.yaml {root}/shared/runs/demo")
    run = root / "shared" / "runs" / "demo"
    for fold in (0, 1):
        call(f"dtb train {run}/shards {root}/trained{fold} --split.fold {fold}")
        call(f"dtb evaluate {run}/shards {root}/trained{fold} {root}/evaluated{fold}")
    call(f"dtb synth {root}/images --volumes")
    make_study(root / "images", run / "cohort", root / "data" / "study")
    (root / "data" / "atlases").mkdir()
    for name in ("dseg.nii.gz", "dseg.tsv"):
        new = name.replace("dseg", "schaefer400")
        shutil.copy(root / "images" / "atlases" / f"atlas-Toy12_{name}", root / "data" / "atlases" / new)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(run))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (root / "url").write_text(f"http://127.0.0.1:{server.server_address[1]}/shards")
        yield root
        server.shutdown()
        thread.join()


def call(line: str) -> None:
    assert exit_code(smaller(line)[1:]) == 0, line


def prepare(page: str, world: Path, place: Path) -> None:
    """Make what is there before a page's first command."""
    run = world / "shared" / "runs" / "demo"
    make_small_things(place, list(Manifest.load(run / "shards").description.regions))
    (place / "runs").mkdir()
    links = {
        "clusters.md": {"shards": run / "shards"},
        "certificate.md": {
            "runs/demo": run,
            "shards": run / "shards",
            "trained": run / "train",
            **{name: world / name for name in ("evaluated0", "evaluated1")},
        },
    }
    if page == "simulations.md":
        links[page] = {"shards": run / "shards", "trained": run / "train"}
        for number in (2, 3):
            call(
                f"dtb train {run}/shards {place}/trained{number} --config {ROOT}/configs/demo.yaml --seed {number} --split.seed 1"
            )
        (events,) = (run / "cohort" / "bids" / "sub-0001" / "func").glob("*stroop*_events.tsv")
        shutil.copy(events, place / "task-stroop_events.tsv")
    for name, target in links.get(page, {}).items():
        (place / name).symlink_to(target)
    if page == "paper-cohort.md":
        make_tcp(run / "cohort", place / "ds005237")
    if page == "tasks.md":
        (events,) = (run / "cohort" / "bids" / "sub-0001" / "func").glob("*stroop*_events.tsv")
        (place / "sub-01" / "func").mkdir(parents=True)
        shutil.copy(events, place / "sub-01" / "func" / "sub-01_task-stroop_events.tsv")


@pytest.mark.timeout(1800)
def test_the_tutorial_runs_from_beginning_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(
        tmp_path / "by-hand"
    )  # what `dtb run` makes is what its stages make one by one
    walk(TUTORIAL, tmp_path, capsys)
    table = (ROOT / "docs" / TUTORIAL).read_text(encoding="utf-8").split("| folder |")[1].split("\n\n")[0]
    named = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert [name for name, _ in named] == ["cohort", "shards", "train", "evaluate", "simulate", "intervene", "report"]
    for folder, row in named:
        for content in re.findall(r"`([\w/]+(?:\.\w+|/))`", row):
            assert (tmp_path / "by-hand" / folder / content).exists(), f"{folder}: {content}"


@pytest.mark.on_request
@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL])
def test_the_commands_of_a_page_run_one_after_the_other(page, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare(page, world, tmp_path)
    walk(page, world, capsys)


def walk(page: str, world: Path, capsys) -> None:
    """Run a page's commands in the folder that the test stands in; what pages name under / lies in `world`."""
    for line in [line for name, line in commands() if name == page]:
        if line.startswith(tuple(ELSEWHERE)) or "cnp" in line:
            continue
        if not line.startswith("dtb "):
            subprocess.run(["bash", "-ec", line], check=True)
            continue
        if line.startswith("dtb pool runs/pooled"):  # the page shows how the first fold is made, and means the others
            call("dtb train runs/my-study/shards runs/trained1 --split.fold 1")
            call("dtb evaluate runs/my-study/shards runs/trained1 runs/evaluated1")
        rendered = "--render" in line  # its paths are a cluster's
        here = line if rendered else re.sub(r"(?<= )(?=/(data|shared|scratch)/)", str(world), line)
        if "://" in here:
            here = re.sub(r"(https|s3)://\S+/shards", (world / "url").read_text(), here)
        words = smaller(here)
        words = [str(found) for word in words for found in (sorted(Path().glob(word)) if "*" in word else [word])]
        place = WRITES.get(words[1])
        if place and not {"--resume", "--dry-run"} & set(words):  # an alternative to an example before
            shutil.rmtree(words[place], ignore_errors=True)
            Path(f"{words[place]}.identities.tsv").unlink(missing_ok=True)
        assert exit_code(words[1:]) == 0, f"{page}: {line}\n{capsys.readouterr().err}"


@pytest.mark.on_request
@pytest.mark.parametrize("page", ["README.md", "your-data.md"])
def test_the_real_cohort_that_pages_name_is_run(page, real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (line,) = [line for name, line in commands() if name == page and "cnp" in line]
    words = smaller(line.replace("runs/cnp", str(tmp_path / "cnp")))
    place = words.index("--input.bids")
    words[place + 1], words[place + 3] = str(real_data / "cnp"), str(real_data / "cnp" / "derivatives" / "halfpipe")
    assert exit_code(words[1:]) == 0
    assert (tmp_path / "cnp" / "report" / "index.html").is_file()
