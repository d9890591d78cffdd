"""The methods paragraph, for use in a paper: data, connectomes, the twin, its training, the test; versions and hashes."""

from __future__ import annotations

from typing import Any

from dtb.cohort.layouts.table import LAYOUTS
from dtb.evaluate.predictors.table import PREDICTORS
from dtb.report.collected import Collected, Evaluation, People, StageState
from dtb.report.parts import Section, Table, count
from dtb.report.sections import connectome_words
from dtb.shards.split import SEEN_KINDS, held_out_in_words
from dtb.version import __version__, versions_here

REFERENCE = {
    "text": "Takahashi Y, Soda T, Tomita H, Yamashita Y. Digital Twin Brain. BME Frontiers 2026.",
    "doi": "10.34133/bmef.0231",
}
_TOOLS = (
    "It rests on PyTorch (Paszke et al. 2019, NeurIPS 32), DeepSpeed (Rasley et al. 2020, doi:10.1145/3394486.3406703), Ray (Moritz et al. "
    "2018, OSDI), nilearn (doi:10.5281/zenodo.8397156) and scikit-learn (Pedregosa et al. 2011, JMLR 12)."
)
_CONFOUNDS = {
    "24p": "slow drifts and 24 motion parameters were",
    "24p_gsr": "slow drifts, 24 motion parameters and the global signal were",
    "36p": "slow drifts, 24 motion parameters and the global, white-matter and CSF signals with derivatives and squares were",
    "none": "no confound was",
}
_TESTED = {
    "subjects": "The people tested, one fold of {num_folds} that are alike in site, group, sex and age, were seen in no part of training.",
    "sites": "The people tested are all those of one site, and were seen in no part of training.",
    "tasks": "The people tested were seen in no part of training, and nobody was at the task tested.",
}


def methods_section(found: Collected) -> Section:
    """Return the section on methods, with versions and settings."""
    settings = found.stages["train"].settings
    twin, segments, training = (settings.get(part) or {} for part in ("twin", "segments", "train"))
    words = []
    if isinstance(found.people, People):
        words.append(_data_words(found, found.people))
    if twin:
        words += [_model_words(twin, segments), _training_words(training)]
    words += [*_split_words(settings.get("split") or {}), *_statistics_words(found)]
    words.append(
        f"The model follows {REFERENCE['text']} doi:{REFERENCE['doi']}, with the departures named above; "
        f"{_software(found.stages['train'])} did the work. {_TOOLS} Cite these, and the data set as its `dataset_description.json` asks."
    )
    return Section("methods", "Methods and versions", words=words, tables=[_versions(found)])


def made_with(found: Collected) -> list[str]:
    """Return the foot of a person's page: software, and the hashes of data and settings."""
    hashes = "; ".join(f"{words} {value[:12]}" for words, value in _hashes(found))
    return [
        f"The twin was trained by {_software(found.stages['train'])}. The methods stand on the main page.",
        *([f"{hashes[0].upper()}{hashes[1:]}."] if hashes else []),
    ]


def _software(stage: StageState) -> str:
    """Return dtb's version and, from a repository, commit: those of the stage if it saved them."""
    commit = stage.versions.get("commit")
    return f"dtb {stage.version or __version__}" + (f" (commit {commit[:12]})" if commit else "")


def _data_words(found: Collected, people: People) -> str:
    settings = found.stages["ingest"].settings.get("ingest") or {}
    layout = str(settings.get("layout", ""))
    source = "the made-up cohort of `dtb synth`" if found.stages["synth"].state == "done" else _named(people)
    words = (
        f"Choices and reaction times of {count(len(people.cohort), 'person', 'people')} were read from the events of {source} through "
        "task specifications"
    )
    if layout in LAYOUTS:
        words += f", and BOLD, where there is any, from {LAYOUTS[layout].words}"
    if layout in LAYOUTS and not LAYOUTS[layout].is_denoised:
        words += f"; {_CONFOUNDS.get(str(settings.get('confounds')), 'confounds were')} regressed out with nilearn"
    limits = ""
    if {"min_rest_seconds", "min_region_fraction", "max_motion_mm"} <= set(settings):
        limits = (
            f" People with less than {settings['min_rest_seconds']:g} s of usable rest, less than {settings['min_region_fraction']:.0%} of "
            f"the regions, or with a mean framewise displacement above {settings['max_motion_mm']:g} mm were set aside."
        )
    num_regions = len(people.manifest.description.regions)
    return (
        f"{words}.{limits} {connectome_words(people.manifest)} There are {num_regions} regions and "
        f"{num_regions * (num_regions - 1) // 2:,} edges. Absent regions, runs and responses were masked, never filled."
    )


def _named(people: People) -> str:
    """Return the data set's own name."""
    source = people.manifest.description.source
    doi = f" ({source['DatasetDOI']})" if "DatasetDOI" in source else ""
    return (
        f"the data set \N{LEFT DOUBLE QUOTATION MARK}{source['Name']}\N{RIGHT DOUBLE QUOTATION MARK}{doi}"
        if "Name" in source
        else f"a BIDS data set{doi}"
    )


def _model_words(twin: dict[str, Any], segments: dict[str, Any]) -> str:
    generation = {
        "low_rank": f"a change of rank {twin.get('rank')} to weights that all people share",
        "additive": "a constant input",
    }.get(str(twin.get("generation")), "every weight")
    latent = f" through a latent of {twin['latent_size']} numbers" if twin.get("latent_size") else ""
    components = (
        f" It reads the connectome's first {twin['connectome_components']} principal components over the training people."
        if twin.get("connectome_components")
        else ""
    )
    press = (
        "Presses have a hazard for each alternative, so that the loss is the likelihood of each observed choice and reaction time"
        if twin.get("press") == "hazard"
        else "Presses were trained by binary cross-entropy at each step"
    )
    bold = (
        f"BOLD is a readout convolved with the {twin.get('hrf')} haemodynamic response and compared at the scanner's own volumes"
        if twin.get("bold") == "hrf"
        else "BOLD is read out directly at each step"
    )
    step = 1000 * float(twin.get("step_seconds", 0))
    return (
        f"A hypernetwork reads a person's connectome and generates{latent} {generation} of a recurrent network of "
        f"{twin.get('num_hidden')} {twin.get('cell')} units, stepping by {step:g} ms.{components} {press}. {bold}. Runs were cut into "
        f"segments of {segments.get('segment_seconds')} s, of which the first {segments.get('burn_in_seconds')} s carry no loss."
    )


def _training_words(training: dict[str, Any]) -> str:
    begin = (
        " Latents began at what ridge regressions read from the training people's connectomes."
        if training.get("start") == "regression"
        else ""
    )
    return (
        f"Training used batches of {training.get('batch_size')} people, AdamW with a learning rate of {training.get('learning_rate')} "
        f"({training.get('schedule', 'constant')}) and a weight decay of {training.get('weight_decay')}, and losses of presses and BOLD "
        f"weighted {training.get('press_weight')} to {training.get('bold_weight')}, on {count(training.get('num_workers', 1), 'rank')} "
        f"with DeepSpeed under Ray Train. It stopped after {training.get('patience_steps')} steps of the optimizer without a better "
        f"validation loss, or {training.get('max_steps')} in all; the weights with the lowest validation loss were kept.{begin}"
    )


def _split_words(split: dict[str, Any]) -> list[str]:
    kind = split.get("kind")
    if kind in SEEN_KINDS:
        return [
            f"The same people trained and tested the twin: {held_out_in_words(str(kind), split.get('held_out', ''))} was held out."
        ]
    return [_TESTED[str(kind)].format(**split)] if kind in _TESTED else []


def _statistics_words(found: Collected) -> list[str]:
    settings = found.stages["evaluate"].settings.get("evaluate") or {}
    if not settings:
        return []
    words = (
        f"Held-out figures carry {settings.get('confidence', 0.95):.0%} percentile intervals from {settings.get('num_bootstrap', 0):,} "
        "bootstrap draws over people. Everything that was fitted, normalisation and baselines among it, was fitted on training data alone."
    )
    if isinstance(found.evaluation, Evaluation):
        used = {name for row in found.evaluation.figures["rows"] for name in row.get("baselines") or {}}
        baselines = [one.words for one in PREDICTORS if one.name in used]
        if baselines:
            words += f" Baselines: {'; '.join(baselines)}."
        schemes = sorted({str(test["scheme"]) for test in found.evaluation.certificate["tests"] if test.get("scheme")})
        if schemes:
            words += f" The certificate's tests are one-sided ({', '.join(schemes)}), and corrected after Holm for their number."
    return [words]


def _hashes(found: Collected) -> list[tuple[str, str]]:
    rows = []
    if isinstance(found.people, People):
        rows.append(("cohort hash", found.people.manifest.cohort_hash))
    if isinstance(found.split, dict) and found.split.get("split_hash"):
        rows.append(("split hash", str(found.split["split_hash"])))
    return rows + [
        (f"settings of {state.name}", state.config_hash) for state in found.stages.values() if state.config_hash
    ]


def _versions(found: Collected) -> Table:
    """Return the versions on the machine that trained the twin or, if not saved, on this machine."""
    train = found.stages["train"]
    saved, made = {"dtb": train.version} | train.versions, {"dtb": __version__} | versions_here()
    where = (
        "as the training had it" if train.versions else "where this page was made; the training did not save its own"
    )
    rows = list((saved if train.versions else made).items())
    if train.versions and made != saved:
        differing = {name: version for name, version in made.items() if saved.get(name) != version}
        rows += [(f"{name}, where this page was made", version) for name, version in differing.items()]
    rows += _hashes(found)
    seed = train.settings.get("seed")
    if seed is not None:
        rows.append(("seed", str(seed)))
    return Table(f"Versions ({where}) and hashes", ("what", "which"), rows, is_folded=True)
