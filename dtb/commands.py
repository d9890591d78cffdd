"""The stages and tools as the command line has them: one dataclass each, of the places, options and sections it reads.

Places first, then a stage's own section of the configuration with plain option names, then the other sections it reads, dotted. tyro makes
the options and the help from the dataclasses and from the text under their fields.
"""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import OmitArgPrefixes, Positional, Suppress, arg

from dtb import config as cfg
from dtb.errors import ConfigurationError, InputDataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage(abc.ABC):
    """What every stage takes."""

    paths_are_here: ClassVar[bool] = True  # else they are another machine's, and are left as they were given

    config: Path | None = None
    """YAML file with any part of the configuration; options given here win over it."""
    seed: int = 0
    """Seed of everything random."""
    resume: bool = False
    """Go on in an output folder that was begun with the same settings."""
    dry_run: bool = False
    """Check the inputs and say what would be done; write nothing."""
    print_config: bool = False
    """Print the resolved configuration as YAML, fit for --config, and stop."""

    @property
    def config_path(self) -> Path | None:
        """Where the YAML file lies, if there is one."""
        return self.config

    @abc.abstractmethod
    def run(self, config: cfg.Config) -> None:
        """Do the stage's work."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synth(Stage):
    """Make a ground-truth cohort: people whose traits load on known edges of their connectome.

    Writes OUT/bids (participants and events), OUT/derivatives/xcp_d (rest and task series of made-up parcels) and OUT/truth (traits,
    causal edges and the noise ceiling of every prediction). The other stages read it as they would a laboratory's data.

    Example: dtb synth cohort --num-subjects 64
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    synth: OmitArgPrefixes[cfg.SynthConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.groundtruth.synthesise import synthesise

        synthesise(config, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ingest(Stage):
    """Read a BIDS tree and its derivatives into shards: one record a person, under a pseudonym.

    Reads events through task specifications and parcellated series from the derivatives, makes a connectome of each person's rest, and
    writes tar shards with a manifest. Whoever cannot be used is set aside in quarantine.tsv with the reason. The only file that links
    pseudonyms to participants is OUT.identities.tsv, beside the folder and never in it.

    Example: dtb ingest cohort/bids shards --derivatives cohort/derivatives/xcp_d
    """

    bids: Annotated[Positional[Path], arg(metavar="BIDS")]
    """Raw BIDS tree: participants.tsv and events."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the shards; new or empty."""
    derivatives: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = ()
    """Derivative trees with the parcellated series; none are needed with `--without-connectome keep`."""
    ingest: OmitArgPrefixes[cfg.IngestConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.cohort.ingest import ingest

        derivatives = self.derivatives or config.input.derivatives
        if not derivatives and config.ingest.without_connectome != "keep":
            raise ConfigurationError(
                "--derivatives is missing: name at least one derivative tree with the parcellated series. For shards of behaviour alone, "
                "add --without-connectome keep."
            )
        ingest(config, self.bids, derivatives, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """Train the twin on shards, with DeepSpeed on Ray Train.

    Writes OUT/checkpoints (for --resume), OUT/metrics.jsonl (one line an epoch), OUT/split.json (who trains, validates and is held out)
    and OUT/twin: the trained twin as safetensors and JSON, the only thing that later stages load.

    Example: dtb train shards trained --num-workers 2 --twin.num-hidden 64
    """

    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    train: OmitArgPrefixes[cfg.TrainConfig]
    twin: cfg.TwinConfig
    segments: cfg.SegmentConfig
    split: cfg.SplitConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]
    track: cfg.TrackConfig

    def run(self, config: cfg.Config) -> None:
        from dtb.train.trainer import train

        train(config, self.shards, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(Train):
    """Train folds by seeds by settings, as many at a time as the cluster holds, and say how each came out.

    Each member is a folder OUT/members/NAME as `dtb train` writes it, for `dtb evaluate`, and for `--members` of `dtb simulate` and
    `dtb intervene`. Settings that fall behind others of the same fold and seed are stopped early. OUT/sweep.tsv has a row a member.

    Example: dtb sweep shards swept --folds 0 1 2 --seeds 1 2 3 --set twin.rank=3,4
    """

    folds: Annotated[tuple[int, ...], arg(metavar="FOLD [FOLD ...]")] = ()
    """Folds to train (`split.fold`)."""
    seeds: Annotated[tuple[int, ...], arg(metavar="SEED [SEED ...]")] = ()
    """Seeds to train with."""
    set: Annotated[tuple[str, ...], arg(metavar="OPTION=VALUE,VALUE [...]")] = ()
    """Options of `twin`, `train`, `segments` or `split` with the values to try; all combinations are."""

    def run(self, config: cfg.Config) -> None:
        from dtb.train.sweep import sweep

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
class _ReadsTwin(Stage):
    """What the stages after training take."""

    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(_ReadsTwin):
    """Compare the twin with held-out data, beside baselines that know no brain.

    Writes OUT/certificate.html (whether the twin is personal, test by test), OUT/figures.json (every figure with its interval and its
    baselines, and what may be claimed), OUT/subjects.parquet (a row for each person and task) and OUT/bold_map.parquet. With --members,
    the mean prediction of an ensemble is evaluated. One training shows at most that the twin is provisionally personal: see `dtb pool`.

    Example: dtb evaluate shards trained evaluated
    """

    truth: Path | None = None
    """Folder `truth` of a cohort that `dtb synth` made: figures then stand beside what perfect knowledge would reach."""
    evaluate: OmitArgPrefixes[cfg.EvaluateConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.stage import evaluate

        places = (self.shards, self.trained, self.out)
        evaluate(config, *places, resume=self.resume, dry_run=self.dry_run, truth=self.truth)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update(Stage):
    """Update every person's twin by the person's own trials and BOLD.

    A connectome says where a person's latent may lie; the trials and volumes of that person say where in there it does. Writes Parquet:
    OUT/latents, a row for each person and session with mean and covariance, and OUT/status. Whatever exists is used: people without a
    connectome, one task and not another, the first trials only (--trials), earlier sessions. `dtb simulate` and `dtb intervene` take OUT as
    --updated.

    Example: dtb update trained shards updated --trials 20
    """

    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, of the same cohort or another, or the URL of a copy of it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    update: OmitArgPrefixes[cfg.UpdateConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.update import update

        update(config, self.trained, self.shards, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulate(_ReadsTwin):
    """Simulate every person's twin in the tasks, on a pool of Ray actors.

    Writes Parquet: OUT/trials (choices and reaction times, a row for each draw), OUT/expected (their distributions in closed form),
    OUT/bold, OUT/contrasts, OUT/connectomes, and OUT/status with a row a person; with --bids-derivatives also OUT/derivatives. An ensemble
    performs with --members, new designs with --designs. A person whose twin fails is a row with the reason; --resume does only who is
    missing.

    Example: dtb simulate shards trained simulated --num-draws 50 --designs task-stroop_events.tsv
    """

    simulate: OmitArgPrefixes[cfg.SimulateConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.simulate import simulate

        simulate(config, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervene(_ReadsTwin):
    """Search, for each person, for a change of the connectome that moves an indicator.

    The changed connectome stays a correlation matrix and the change within the budget; it is fed through the whole twin again, and
    compared with changes of equal size that others would make. All edges may change, or a few, or the gains of a few regions (--space).
    Research use only: what comes out is a hypothesis about a model.

    Example: dtb intervene shards trained searched --indicator mean_rt --budget 0.05
    """

    intervene: OmitArgPrefixes[cfg.InterveneConfig]
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.intervene import intervene

        intervene(config, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial(Stage):
    """Put every person's twin through an in-silico trial, under a protocol that was written before.

    Arms (each person's own change, the population's, a random one, none) at several doses, paired within people. Writes OUT/outcomes
    (Parquet), OUT/trial.json with the primary outcome and the protocol's hash, OUT/doses.tsv, OUT/matrix.tsv and OUT/slopes.tsv. It is a
    trial of models, not of people.

    Example: dtb trial configs/trials/stroop_speed.yaml shards trained tried
    """

    protocol: Annotated[Positional[Path], arg(metavar="PROTOCOL")]
    """YAML file with the protocol."""
    shards: Annotated[Positional[Path], arg(metavar="SHARDS")]
    """Folder that `dtb ingest` wrote, or the URL of a copy of it."""
    trained: Annotated[Positional[Path], arg(metavar="TRAINED")]
    """Folder that `dtb train` wrote."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    fleet: cfg.FleetConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.fleet.in_silico_trial import trial
        from dtb.intervene.protocol import load_protocol

        protocol = load_protocol(self.protocol)
        trial(config, protocol, self.shards, self.trained, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Stage):
    """Make one HTML page of a run folder: learning curves, predictions against observations, a twin, an intervention.

    The page stands alone: no network is needed to look at it. Stages that are absent are named as absent.

    Example: dtb report runs/demo page
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder that `dtb run` wrote, with shards, train, evaluate, simulate and intervene in it."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for index.html; new or empty."""
    report: OmitArgPrefixes[cfg.ReportConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.report.stage import report

        report(config, self.run_folder, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Stage):
    """Do all stages in one go: synth (where no BIDS tree is given), ingest, train, evaluate, simulate, intervene, report.

    Each stage writes a folder of its own name in OUT. A second call with --resume goes on where the first stopped.

    Examples: dtb run configs/demo.yaml   |   dtb run configs/cohorts/cnp.yaml runs/cnp --input.bids DIR --input.derivatives DIR
    """

    config: Suppress[Path | None] = None
    config_file: Annotated[Positional[Path], arg(metavar="CONFIG")]
    """YAML file with any part of the configuration."""
    out: Annotated[Positional[Path | None], arg(metavar="[OUT]")] = None
    """Run folder; runs/NAME if not given, NAME being the configuration's `name`."""
    name: str = "dtb"
    """What the work is called in the report and in W&B."""
    input: cfg.InputConfig
    synth: cfg.SynthConfig
    ingest: cfg.IngestConfig
    segments: cfg.SegmentConfig
    twin: cfg.TwinConfig
    split: cfg.SplitConfig
    train: cfg.TrainConfig
    evaluate: cfg.EvaluateConfig
    simulate: cfg.SimulateConfig
    intervene: cfg.InterveneConfig
    fleet: cfg.FleetConfig
    report: cfg.ReportConfig
    cluster: OmitArgPrefixes[cfg.ClusterConfig]
    launch: cfg.LaunchConfig
    track: cfg.TrackConfig

    @property
    def config_path(self) -> Path | None:
        return self.config_file

    def run(self, config: cfg.Config) -> None:
        from dtb.pipeline import run_all

        run_all(config, self.out or Path("runs").resolve() / config.name, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submit(Run):
    """Submit `dtb run` to a cluster as a job, print what it prints, and end with its exit code.

    The configuration travels, and the small text files that it names by a relative path. Data do not: OUT and all other paths are absolute
    ones of a file system that every node of the cluster sees. Ctrl-C leaves the job running and says how to come back and how to stop it.

    Examples: dtb submit configs/demo.yaml /shared/demo --address http://head:8265   |   dtb submit --address http://head:8265 --stop JOB
    """

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

    def run(self, config: cfg.Config) -> None:
        from dtb.submit.command import Request, launch

        asked = Request(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Request)})
        if code := launch(asked, config):
            raise SystemExit(code)


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
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.view.serve import view

        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"--port is {self.port}; a port is a number from 0 to 65535.")
        view(self.run_folder, self.host, self.port, config.cluster)


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
        from dtb.doctor import doctor

        doctor(config.cluster)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool(Stage):
    """Take the folds of one cohort together, so that everybody is an unseen person once.

    Reads the folders of several `dtb evaluate`, each with other people held out (--split.fold 0, 1, ... of `dtb train`), and writes the
    same figures and certificate over all of them: OUT/certificate.html, OUT/figures.json. Several seeds (--seed of `dtb train`), each
    with all of its folds, are pooled too: each figure is then the mean over them.

    Example: dtb pool pooled evaluated0 evaluated1 evaluated2 evaluated3 evaluated4
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    evaluated: Annotated[Positional[tuple[Path, ...]], arg(metavar="EVALUATED [EVALUATED ...]")] = ()
    """Folders that `dtb evaluate` wrote, one a fold."""
    evaluate: OmitArgPrefixes[cfg.EvaluateConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.pool import pool

        pool(config, self.evaluated, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(Stage):
    """Estimate how many people, scan minutes and trials a claim between people needs.

    Makes cohorts of the ground-truth generator, predicts people from their connectomes by cross-validated ridge regression, and counts how
    often the claim comes out. Writes OUT/plan.json and OUT/plan.png. A twin that is no better than the regression needs as many.

    Example: dtb plan planned --claim mean_rt --size 0.3 --people 50 100 200
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    plan: OmitArgPrefixes[cfg.PlanConfig]
    synth: cfg.SynthConfig

    def run(self, config: cfg.Config) -> None:
        from dtb.evaluate.planning.plan import plan

        plan(config, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(Stage):
    """Show what a task specification makes of events files (check), list those that come with dtb (list), or convert HCP's EVs (from-hcp).

    `check` prints trials, omissions, responses, reaction times, and every row that could not be used with its reason; it exits with 1 if it
    had to refuse some of the files. TASK is the name of a shipped specification or the path of a YAML file of your own;
    configs/tasks/stroop.yaml is the commented example. Nothing is written.

    `from-hcp HCP_1200 BIDS` writes events.tsv for the WM and EMOTION runs of the Human Connectome Project, whose releases have EVs and
    E-Prime tables instead; the tasks `nback` and `emotion` read them.

    Examples: dtb task check stroop sub-01/func/*_task-stroop_*_events.tsv   |   dtb task check mine.yaml events.tsv
    """

    seed: Suppress[int] = 0
    resume: Suppress[bool] = False
    dry_run: Suppress[bool] = False
    config: Suppress[Path | None] = None
    print_config: Suppress[bool] = False
    action: Positional[Literal["check", "list", "from-hcp"]]
    """What to do."""
    task: Annotated[Positional[str], arg(metavar="TASK")] = ""
    """Name of a shipped specification, or path of a YAML file; with from-hcp, the folder with HCP's subjects."""
    events: Annotated[Positional[tuple[Path, ...]], arg(metavar="EVENTS.tsv ...")] = ()
    """Events files; with from-hcp, the BIDS tree to write."""

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


STAGES: dict[str, type[Stage]] = {
    kind.__name__.lower(): kind
    for kind in (Synth, Ingest, Train, Evaluate, Update, Simulate, Intervene, Trial, Report, Run, Pool, Plan)
}
COMMANDS: dict[str, type[Stage]] = {
    **STAGES,
    "submit": Submit,
    "task": Task,
    "shards": Shards,
    "view": View,
    "watch": Watch,
    "sweep": Sweep,
    "doctor": Doctor,
}
