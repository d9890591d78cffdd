"""The commands beside the stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import OmitArgPrefixes, Positional, Suppress, arg

from dtb import config as cfg
from dtb import terminal
from dtb.commands.options import own_words
from dtb.commands.runs import Run
from dtb.commands.stage import Stage
from dtb.commands.twins import Train
from dtb.errors import ConfigurationError, InputDataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Init(Stage):
    """Write a configuration and task files for a data set, and say what is missing.

    With BIDS the tree is read: derivatives, layout, tasks with events, rest. Without it five questions are asked, with what the tree says
    as answers to accept. Tasks that dtb does not know are drafted, with questions in the files. Then the data are looked at, as by
    `dtb run --dry-run`. Nothing that is there is overwritten. Exit code 1 if something is missing.

    Examples: dtb init   |   dtb init /data/study/bids my-study --derivatives /data/study/derivatives/xcp_d
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    bids: Annotated[Positional[Path | None], arg(metavar="[BIDS]")] = None
    """Raw BIDS tree; asked for if not given."""
    out: Annotated[Positional[Path | None], arg(metavar="[OUT]")] = None
    """Folder for config.yaml and tasks/; named after the data set if not given."""
    derivatives: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = ()
    """Derivative trees; those below and beside BIDS if not given."""
    tasks: Annotated[tuple[str, ...], arg(metavar="LABEL [LABEL ...]")] = ()
    """BIDS labels of the tasks; all whose events can be read if not given."""
    rest_task: str | None = None
    """Beginning of the labels of the runs that stand for rest."""
    held_out: Literal["people", "later"] | None = None
    """Other people, or the later part of each run; with fewer than 40 people the latter if not given."""
    overwrite: bool = False
    """Replace the files of an earlier call."""

    def run(self, config: cfg.Config) -> None:  # noqa: ARG002 - what is written is the configuration
        from dtb.init.command import Given, init
        from dtb.pipeline import steps_of

        def check(written: cfg.Config) -> None:
            steps_of(written, Path("runs").resolve() / written.name)[0].call(resume=True, dry_run=True)

        given = Given(self.bids, self.derivatives, self.tasks, self.rest_task, self.held_out)
        written = init(given, self.out, check, overwrite=self.overwrite)
        terminal.out.print(f"Next: dtb run {written}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submit(Run):
    """Submit `dtb run`, or another stage, to a cluster as a job, print what it prints, and end with its exit code.

    The configuration travels, and the small text files that it names by a relative path. Data do not: OUT and all other paths are absolute
    ones of a file system that every node of the cluster sees. After `--` stands the command of another stage, a sweep or a trial, as it
    would be typed there. Ctrl-C leaves the job running and says how to come back and how to stop it.

    Examples: dtb submit configs/demo.yaml /shared/demo --address http://head:8265   |   dtb submit --address http://head:8265 --stop JOB
    |   dtb submit --address http://head:8265 -- sweep /shared/demo/shards /shared/swept --config configs/demo.yaml --seeds 1 2 3
    """

    common: ClassVar[tuple[str, ...]] = (
        "--address",
        "--follow",
        "--stop",
        "--no-wait",
        "--render",
        "--send-code",
        "--input.bids",
        "--input.derivatives",
        "--resume",
        "--dry-run",
    )

    paths_are_here: ClassVar[bool] = False
    config_file: Annotated[Positional[Path | None], arg(metavar="[CONFIG]")] = None  # type: ignore[assignment]
    """YAML file with any part of the configuration."""
    out: Annotated[Positional[str | None], arg(metavar="[OUT]")] = None  # type: ignore[assignment]
    """Run folder on the cluster: an absolute path that all of its nodes see."""
    address: str | None = None
    """URL of the cluster's job server, `http://HEAD:8265` as a rule."""
    follow: str | None = None
    """Name of a job that was submitted before: print all that it has printed and prints, until it ends."""
    stop: str | None = None
    """Name of a job to stop."""
    no_wait: bool = False
    """Submit and return at once."""
    render: Literal["rayjob", "slurm"] | None = None
    """Submit nothing; print the same run for Kubernetes (`| kubectl apply -f -`) or Slurm (`| sbatch`), which make a cluster for it."""
    send_code: bool = False
    """Send this installation of dtb with the job, in place of the one that the cluster has."""
    cluster: Suppress[cfg.ClusterConfig]
    work: Suppress[tuple[str, Stage] | None] = None
    """The other stage: its name and what was given to it."""

    def run(self, config: cfg.Config) -> None:
        from dtb.submit.bundle import Work
        from dtb.submit.command import Request, launch

        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(Request) if field.name != "work"}
        work = None
        if self.work is not None:
            name, stage = self.work
            beside = {field.name for kind in (Stage, cfg.Config) for field in dataclasses.fields(kind)}
            work = Work(name, tuple(own_words(stage, beside)))
            given |= {
                "out": getattr(stage, "out", None),
                "resume": self.resume or stage.resume,
                "dry_run": self.dry_run or stage.dry_run,
            }
        asked = Request(**given, work=work)
        if code := launch(asked, config):
            raise SystemExit(code)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(Stage):
    """Check what a task file makes of events (check), draft one from events (draft), list those of dtb (list), or convert HCP's EVs.

    `draft EVENTS ...` writes a first task file from what it sees in events files, or in what PsychoPy (.csv), E-Prime (.txt) or jsPsych
    (.json, .csv) wrote, and lists what only a person can decide.

    `check` prints trials, omissions, responses, reaction times, and every row that could not be used with its reason; it exits with 1 if it
    had to refuse some of the files. TASK is the name of a shipped specification or the path of a YAML file of your own;
    configs/tasks/stroop.yaml is the commented example. Nothing is written.

    `from-hcp HCP_1200 BIDS` writes events.tsv for the WM and EMOTION runs of the Human Connectome Project, whose releases have EVs and
    E-Prime tables instead; the tasks `nback` and `emotion` read them.

    Examples: dtb task draft sub-*/func/*_task-flanker_*_events.tsv   |   dtb task check flanker.yaml sub-01/func/*_events.tsv
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    action: Annotated[
        Positional[Literal["check", "draft", "list", "from-hcp"]], arg(metavar="{check,draft,list,from-hcp}")
    ]
    """What to do."""
    task: Annotated[Positional[str], arg(metavar="[TASK]")] = ""
    """Name of a shipped specification, or path of a YAML file; none with draft; with from-hcp, the folder with HCP's subjects."""
    events: Annotated[Positional[tuple[Path, ...]], arg(metavar="EVENTS ...")] = ()
    """Events files; with from-hcp, the BIDS tree to write."""
    out: Path = Path()
    """With draft, the folder for the task file; nothing that is there is overwritten."""

    def run(self, config: cfg.Config) -> None:  # noqa: ARG002 - nothing of the configuration matters to a specification
        from dtb.tasks.check import check_task, list_tasks

        if self.action == "list":
            list_tasks()
        elif self.action == "from-hcp":
            if not self.task or len(self.events) != 1:
                raise ConfigurationError(
                    "`dtb task from-hcp` needs the folder with HCP's subjects, and the BIDS tree to write."
                )
            from dtb.tasks.hcp import convert_hcp

            convert_hcp(Path(self.task), self.events[0])
        elif self.action == "draft":
            if not self.task:
                raise ConfigurationError("`dtb task draft` needs at least one file with the events of a task.")
            from dtb.tasks.draft.command import draft_task

            draft_task((Path(self.task), *self.events), self.out)
        elif not self.task or not self.events:
            raise ConfigurationError("`dtb task check` needs a TASK and at least one EVENTS.tsv.")
        else:
            check_task(self.task, self.events)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shards(Stage):
    """Show what a folder of shards holds (info), or find a cut, altered or missing shard (verify).

    Examples: dtb shards info runs/demo/shards   |   dtb shards verify runs/demo/shards
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    action: Positional[Literal["info", "verify"]]
    """What to do."""
    folder: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote."""

    def run(self, config: cfg.Config) -> None:  # noqa: ARG002 - a folder of shards describes itself
        from dtb.shards.inspect import print_info, verify_shards

        {"info": print_info, "verify": verify_shards}[self.action](self.folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class View(Stage):
    """Show the twins of a run live: a local web page in which they do tasks, and in which connectomes are changed by hand.

    Pick a person and a task; see stimuli, choices, reaction times and BOLD; drag an edge, a region's gain or the dose of the change that
    was found; compare two people. The address that is printed holds the key to it. The same over HTTP for programs, explained at /docs.
    With --ray-address the page is served by that cluster, with Ray Serve. Nothing is written. Research use only.

    Examples: dtb view runs/demo   |   dtb view runs/demo --port 0
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder that `dtb run` wrote, with shards and train in it, and intervene for doses."""
    host: str = "127.0.0.1"
    """Address to listen at; the default can be reached from this machine only."""
    port: Annotated[int, arg(metavar="0-65535")] = 8765
    """Port to listen at; 0 for any that is free."""
    atlas: Path | None = None
    """Where the regions lie, if `dtb ingest` could not tell it: as for `dtb report --atlas`."""
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.view.serve import view

        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"--port is {self.port}; a port is a number from 0 to 65535.")
        view(self.run_folder, self.host, self.port, config.cluster, self.atlas)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch(Stage):
    """Show how a training is getting on, in the terminal and from its files alone.

    Losses by task and modality, learning rate, gradient norm, throughput, the share of time spent waiting for data, time to go, who is set
    aside, the newest checkpoint and the state of the other stages. It ends when the training does, and says so if the training was killed.

    Examples: dtb watch runs/demo   |   dtb watch trained --once
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder that `dtb run` or `dtb train` writes."""
    once: bool = False
    """Print the state once and end."""

    def run(self, config: cfg.Config) -> None:  # noqa: ARG002 - the training knows its own configuration
        if not self.run_folder.is_dir():  # before torch is imported, which takes seconds
            raise InputDataError(
                f"{self.run_folder} does not exist or is not a folder. Give the folder that `dtb run` or `dtb train` writes."
            )
        from dtb.watch import watch

        watch(self.run_folder, once=self.once)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(Train):
    """Train folds by seeds by settings, as many at a time as the cluster holds, and say how each came out.

    Each member is a folder OUT/members/NAME as `dtb train` writes it, for `dtb evaluate`, and for `--members` of `dtb simulate` and
    `dtb intervene`. Settings that fall behind others of the same fold and seed are stopped early. OUT/sweep.tsv has a row a member.

    Example: dtb sweep shards swept --folds 0 1 2 --seeds 1 2 3 --set twin.rank=3,4
    """

    common: ClassVar[tuple[str, ...]] = (
        "--folds",
        "--seeds",
        "--set",
        "--num-workers",
        "--use-gpu",
        "--max-steps",
        "--ray-address",
        "--config",
        "--resume",
        "--dry-run",
    )

    folds: Annotated[tuple[int, ...], arg(metavar="FOLD [FOLD ...]")] = ()
    """Folds to train (`split.fold`)."""
    seeds: Annotated[tuple[int, ...], arg(metavar="SEED [SEED ...]")] = ()
    """Seeds to train with."""
    set: Annotated[tuple[str, ...], arg(metavar="OPTION=VALUE,VALUE [...]")] = ()
    """Options of `twin`, `train`, `segments` or `split` with the values to try; all combinations are."""

    def run(self, config: cfg.Config) -> None:
        from dtb.train.sweeps.sweep import sweep

        sweep(
            config,
            self.shards,
            self.out,
            folds=self.folds,
            seeds=self.seeds,
            settings=self.set,
            resume=self.resume,
            dry_run=self.dry_run,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doctor(Stage):
    """Look at this machine, and at a cluster if its address is given, and say what to do about what is unfit for a run.

    Versions, cores, GPUs, memory, shared memory, disks, open files, loopback, Ray token, W&B; on a cluster, whether every node has the
    versions of this machine. Nothing is written. Exit code 1 if a run would fail.

    Examples: dtb doctor   |   dtb doctor --ray-address auto
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.doctor.checks import doctor

        doctor(config.cluster)
