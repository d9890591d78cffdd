"""``dtb simulate``: simulate every person's twin in the person's own runs, or in new designs, and write Parquet.

Tables, one row each as named, in the folders of the same name. `member` counts the members of the ensemble and `noise_draw` the
simulations with different process noise, both from 0; `docs/simulations.md` describes every column.

- ``trials``: a press drawn for a trial (`draw`): choice and reaction time, beside the person's own.
- ``expected``: a trial's distribution in closed form: choice probabilities, mean and quantiles of the reaction time.
- ``bold``: a volume of a run: the signal of each region in `bold`, a list in the order of the table's ``regions`` metadata.
- ``contrasts``: a region's effect of a task's contrast.
- ``connectomes``: a simulation: the correlations of the simulated signals, upper triangle row by row.
- ``status``: a person.

Read one with ``pandas.read_parquet("OUT/trials")``, or in DuckDB with ``SELECT * FROM 'OUT/trials/*.parquet'``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dtb.cluster.connection import connected
from dtb.config import Config, SimulateConfig, sections
from dtb.errors import ConfigurationError
from dtb.files import sha256_of
from dtb.fleet.actors.actor import Work
from dtb.fleet.actors.ledger import Ledger
from dtb.fleet.actors.run import run_pool, say_summary
from dtb.fleet.actors.sizing import bytes_of_simulation, sized
from dtb.fleet.contrasts import Contrasts
from dtb.fleet.derivatives import DERIVATIVES, describe_derivatives, write_person
from dtb.fleet.designs import read_designs
from dtb.fleet.performance_tables import TABLES, SimulationTables, simulation_tables
from dtb.fleet.posteriors import NOT_UPDATED, Posteriors, latent_seeds, read_posteriors
from dtb.fleet.twins import SharedTwin, TwinRunner, inputs_of, open_ensemble
from dtb.intervene.indicators import press_distribution
from dtb.people.records import Run
from dtb.shards.batches import person_seed
from dtb.stages import StageCall
from dtb.terminal import out
from dtb.twin.batch import Batch
from dtb.twin.hypernetwork import Generated


def simulate(config: Config, shards: Path, trained: Path, folder: Path, *, resume: bool, dry_run: bool = False) -> None:
    """Simulate everybody's twin.

    Parameters
    ----------
    config : Config
        Sections `seed`, `simulate`, `fleet` and `cluster`.
    shards, trained : Path
        Output folders of `dtb ingest` and `dtb train`.
    folder : Path
        Output folder.
    resume : bool
        Go on in a folder that was begun.
    dry_run : bool
        Check the inputs, say what would be done, write nothing.

    Raises
    ------
    ConfigurationError
        Several simulations are requested of a twin without process noise, which would all be the same.
    InputDataError
        Twin and cohort, or the members of the ensemble, do not belong together, or a design cannot be read.
    """
    settings = config.simulate
    shared_twins = open_ensemble(
        shards, trained, settings.members, "simulate.members", needs_connectomes=settings.updated is None
    )
    has_noise = all(shared_twin.card.config.process_noise for shared_twin in shared_twins)
    if settings.num_noise_draws > 1 and not has_noise and settings.updated is None:
        raise ConfigurationError(
            f"simulate.num_noise_draws is {settings.num_noise_draws}, but a twin was trained without process noise "
            "(twin.process_noise): all its simulations would be the same. Leave it at 1, or give --updated."
        )
    posteriors = None
    designs = _designs(settings, shared_twins[0])
    keys = sorted(shared_twins[0].cohort().pseudonyms)
    where = f"{folder}, and BIDS derivatives to {folder / DERIVATIVES}" if settings.bids_derivatives else f"{folder}"
    inputs = inputs_of(shared_twins) | {f"design {path.name}": sha256_of(path) for path in settings.designs}
    if settings.updated is not None:
        posteriors, inputs["update"] = read_posteriors(settings.updated, shared_twins, "simulate.updated")
    what = f"{len(designs)} new run(s)" if designs else "their own runs"
    plan = (
        f"Would simulate {what} by {len(keys)} people's twins: {len(shared_twins)} member(s), {settings.num_noise_draws} simulation(s) "
        f"of each, {settings.num_draws} presses drawn for each trial, on {config.fleet.num_actors} actor(s). "
        f"Would write {', '.join(TABLES)} to {where}."
    )
    call = StageCall(
        "simulate", folder, sections(config, "seed", "simulate"), resume=resume, dry_run=dry_run, inputs=inputs
    )
    if call.ends_early(lambda: out.print(plan)):
        return
    derivatives = (folder / DERIVATIVES).resolve() if settings.bids_derivatives else None
    with connected(config.cluster):
        claimed = call.claim()
        if derivatives is not None:
            describe_derivatives(derivatives, shared_twins[0].card, shared_twins[0].source)
        needed = functools.partial(bytes_of_simulation, shared_twins, designs)
        fleet = sized(config.fleet, folder, needed, len(keys), config.cluster)
        summary = run_pool(
            functools.partial(
                SimulationWorker,
                seed=config.seed,
                settings=settings,
                designs=designs,
                derivatives=derivatives,
                posteriors=posteriors,
                num_rows=fleet.subjects_per_batch,
            ),
            shared_twins,
            keys,
            Ledger(folder, TABLES),
            fleet,
            description="Simulating",
            cluster=config.cluster,
        )
    figures = {"num_people": len(keys), "num_ok": len(keys) - summary.num_failed, "num_failed": summary.num_failed}
    claimed.finish({**figures, "num_draws": settings.num_draws, "cohort_hash": shared_twins[0].card.cohort_hash})
    out.print(f"Simulated: {say_summary(summary)} Tables {', '.join(TABLES)} are in {where}.")


def _designs(settings: SimulateConfig, shared_twin: SharedTwin) -> tuple[Run, ...]:
    num_regions = len(shared_twin.card.region_names)
    return read_designs(settings.designs, shared_twin.taskset, num_regions, settings.design_repetition_time)


class SimulationWorker:
    """The worker: simulates batches of people.

    Parameters
    ----------
    shared_twins : sequence of SharedTwin
        One per member of the ensemble.
    seed : int
    settings : SimulateConfig
    designs : tuple of Run
        Designs that everybody is simulated in; their own runs if empty.
    derivatives : Path or None
        Where to write BIDS derivatives.
    posteriors : Posteriors or None
        What own data made known of people; what connectomes alone say if None.
    num_rows : int or None
        See `dtb.fleet.twins.TwinRunner`.
    """

    def __init__(
        self,
        shared_twins: Sequence[SharedTwin],
        seed: int,
        settings: SimulateConfig,
        designs: tuple[Run, ...] = (),
        derivatives: Path | None = None,
        posteriors: Posteriors | None = None,
        num_rows: int | None = None,
    ) -> None:
        self._posteriors = posteriors
        self._runners = [TwinRunner(shared_twin, seed, num_rows) for shared_twin in shared_twins]
        self._settings = settings
        self._designs = designs
        self._derivatives = derivatives
        self._contrasts = Contrasts(self._runners[0].taskset)

    @torch.inference_mode()
    def work(self, keys: Sequence[str]) -> Work:
        """Return the simulations of some people; those with values that are not finite fail."""
        failures: dict[str, str] = {}
        if self._posteriors is not None:
            failures |= {key: NOT_UPDATED for key in keys if not self._posteriors.has(key)}
        simulations = [
            self._perform(runner, member, noise_draw, keys, failures)
            for member, runner in enumerate(self._runners)
            for noise_draw in range(self._settings.num_noise_draws)
        ]
        tables = simulation_tables(simulations, failures, self._settings.num_draws)
        if self._derivatives is not None:
            for key in keys:
                if key not in failures:
                    write_person(self._derivatives, key, tables, simulations[0].record_of(key))
        return Work(tables, failures)

    def _perform(
        self, runner: TwinRunner, member: int, noise_draw: int, keys: Sequence[str], failures: dict[str, str]
    ) -> SimulationTables:
        records, batch = runner.lay_out(keys, self._designs)
        if noise_draw:
            seeds = [person_seed(key, runner.seed, noise_draw) for key in batch.pseudonyms]
            batch = dataclasses.replace(batch, seed_S=batch.seed_S.new_tensor(seeds))
        generated = self._generated(runner, member, noise_draw, batch)
        output = runner.twin.perform(generated, batch.stimulus_SKTI, batch.seed_S, with_bold=True)
        hazard_SKTA = runner.twin.hazards(output)
        failures |= _failures(keys, hazard_SKTA, output.hidden_SKTN)
        return SimulationTables(
            runner=runner,
            member=member,
            noise_draw=noise_draw,
            records=records,
            batch=batch,
            presses=press_distribution(runner.twin, output, batch, runner.outlines),
            bold_SKVR=(runner.twin.bold(output, batch.volume_seconds_SKV) * runner.twin.bold_scale_R).cpu(),
            contrast_SKV=self._contrasts.weights(records, batch).cpu(),
        )

    def _generated(self, runner: TwinRunner, member: int, noise_draw: int, batch: Batch) -> Generated:
        """Return the networks that connectomes make, or those of a draw from what people's own data made known."""
        if self._posteriors is None:
            return runner.twin.generate(batch.connectome_SE, batch.seed_S)
        latents = self._posteriors.of(batch.pseudonyms, member, batch.connectome_SE)
        latent_SDZ = latents.draw(noise_draw + 1, latent_seeds(batch.pseudonyms, runner.seed))
        decoded: Generated = runner.twin.hypernetwork.decode(latent_SDZ[:, noise_draw])
        return decoded


def _failures(keys: Sequence[str], hazard_SKTA: Tensor, hidden_SKTN: Tensor) -> dict[str, str]:
    fine_S = hazard_SKTA.isfinite().flatten(1).all(1) & hidden_SKTN.isfinite().flatten(1).all(1)
    return {
        key: "the twin's state or hazards are not finite: is the connectome far from those it was trained on?"
        for key, fine in zip(keys, fine_S.tolist()[: len(keys)], strict=True)
        if not fine
    }
