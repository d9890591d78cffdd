"""A finished run, opened for viewing: people are read on request, and one simulation is computed at a time.

Shape letters: see `dtb.view.scene`; `K` segment.
"""

from __future__ import annotations

import difflib
import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dtb.errors import DamagedOutputError, InputDataError, StageError
from dtb.fleet.excerpts import keep_segments
from dtb.fleet.named_target import require_correlations
from dtb.fleet.twins import TwinRunner, open_shared_twin
from dtb.intervene.spaces import Start
from dtb.people.cortex import regions_of_vertices
from dtb.people.networks import network_of
from dtb.people.parcellation import no_places_in_words
from dtb.report.collect import FOLDERS, places_of_run, read_headline, read_stage_state, read_verdict
from dtb.report.collected import read_change
from dtb.tasks.spec import TaskSpec
from dtb.twin.batch import Batch
from dtb.twin.edges import matrix_of
from dtb.version import __version__
from dtb.view import api, replies
from dtb.view.brain import packed, places_of_all
from dtb.view.living import divided, learnt, read_events
from dtb.view.prepared import PreparedPerson
from dtb.view.scene import ManualChange, Scene, judge, perform, valid_change

NOTICE = "Research use only. What a model does is a hypothesis, no medical advice."
_PEOPLE_KEPT = 16
_ROWS_TOLD = 5
MOST_SCENES = 16
"""Different scenes that may be under way or wait for a core."""


class Viewer:
    """Answers requests about one run folder; safe to call from several threads.

    Parameters
    ----------
    run : Path
        Folder that `dtb run` wrote, with at least the shards and the trained twin in it.
    atlas : Path, optional
        Says where the regions lie, see `dtb.cohort.series.region_centres.region_places`; by default what `dtb ingest` found.

    Raises
    ------
    InputDataError, DamagedOutputError
        One of them is absent or incomplete, or they do not belong together.
    """

    def __init__(self, run: Path, atlas: Path | None = None) -> None:
        if not run.is_dir():
            raise InputDataError(f"{run} is not a folder. Give the folder that `dtb run` wrote.")
        self._run = run.resolve()
        shared_twin = open_shared_twin(run / FOLDERS["ingest"], run / FOLDERS["train"])
        require_correlations(shared_twin)
        self._runner = TwinRunner(shared_twin, seed=0)
        self._card, self._split = shared_twin.card, shared_twin.split
        self._people = tuple(sorted(shared_twin.cohort().pseudonyms))
        self._met: OrderedDict[str, PreparedPerson] = OrderedDict()
        self._place_R3 = places_of_run(run, self._card.region_names, atlas)
        self._search = read_stage_state("intervene", run / FOLDERS["intervene"])
        self._lock, self._learning = threading.RLock(), threading.Lock()
        self._hall = ThreadPoolExecutor(api.MAX_PEOPLE)
        self._sharing = threading.Lock()
        self._under_way: dict[str, Future[api.SceneReply]] = {}

    def description(self) -> api.RunDescription:
        """Return the description of the run."""
        verdict = read_verdict(self._run)
        return api.RunDescription(
            name=self._run.name,
            people=list(self._people),
            unseen=[pseudonym for pseudonym in self._people if self._part(pseudonym) in {"test", "none"}],
            tasks=[spec.name for spec in self._runner.taskset.specs],
            regions=list(self._card.region_names),
            networks=[network_of(region) for region in self._card.region_names],
            places=places_of_all(len(self._card.region_names), self._place_R3, self._region_V),
            has_cortex=self._region_V is not None,
            bold_regions=list(self._card.bold_region_names),
            intervention=self._intervention(),
            verdict=api.Verdict(key=verdict.key, badge=verdict.badge, mark=verdict.mark, sentence=verdict.sentence),
            is_living=self._card.config.person_effects,
            does_not_fit=read_headline(self._run),
            version=__version__,
            notice=NOTICE,
        )

    def person(self, pseudonym: str) -> api.Person:
        """Return a person's blocks."""
        with self._lock:
            prepared = self._prepare(pseudonym)
        tasks = [
            api.PersonBlocks(
                task=spec.name,
                blocks=[prepared.label(place, self._card.segments.burn_in_seconds) for place in prepared.places(task)],
            )
            for task, spec in enumerate(self._runner.taskset.specs)
        ]
        return api.Person(
            person=pseudonym,
            part=self._part(pseudonym),
            tasks=[one for one in tasks if one.blocks],
            has_intervention=prepared.found_SE is not None,
            absent_regions=[
                name
                for name, is_there in zip(self._card.region_names, prepared.start.present_SR[0], strict=True)
                if not is_there
            ],
        )

    @functools.cached_property
    def _region_V(self) -> np.ndarray | None:
        """The region of each vertex of the cortex; None where it is not known where the regions lie."""
        return regions_of_vertices(self._card.region_names, self._place_R3)

    def cortex(self) -> bytes:
        """Return the cortex and its regions, as `dtb.view.brain.packed` lays them out.

        Raises
        ------
        InputDataError
            It is not known where the regions lie.
        """
        if self._region_V is None:
            raise InputDataError(no_places_in_words(self._card.region_names))
        return packed(self._region_V)

    def connectome(self, pseudonym: str) -> bytes:
        """Return a person's correlation matrix: float32, little-endian, row by row."""
        with self._lock:
            prepared = self._prepare(pseudonym)
        return prepared.start.base_SRR[0].cpu().numpy().astype("<f4").tobytes()

    def changed_connectomes(self, request: api.ChangeRequest) -> bytes:
        """Return people's correlation matrices with the requested change, one after another: float32, little-endian, row by row.

        Raises
        ------
        InputDataError
            There is no such person or region, or no intervention for a dose.
        """
        wanted, matrices = self._manual_change(request), []
        with self._lock:
            people = [self._prepare(pseudonym) for pseudonym in request.people]
        if request.dose:
            self._require_found(people)
        for prepared in people:  # not under the lock: whoever moves a slider meanwhile need not wait for a picture
            change_SE = valid_change(wanted, prepared.start, prepared.found()).change_SE
            changed_SRR = prepared.start.base_SRR + matrix_of(change_SE, len(self._card.region_names), diagonal=0.0)
            matrices.append(changed_SRR[0].cpu().numpy().astype("<f4").tobytes())
        return b"".join(matrices)

    def block(self, pseudonym: str, task: str, number: int, bold_region: str | None) -> api.Block:
        """Return the stimuli and responses of a person in a block."""
        region, column = self._bold_region(bold_region)
        with self._lock:
            prepared = self._prepare(pseudonym)
            block, place, spec = self._block(prepared, task, number)
            indicators, performance = judge(self._runner.twin, block, self._runner.outlines)
            did_M = torch.stack([performance.observed(one)[0].cpu() for one in indicators])
        start, step = float(block.start_seconds_SK[0, 0]), self._card.config.step_seconds
        first = self._runner.taskset.first_channel(self._runner.taskset.index(task))
        stimulus_TI = block.stimulus_SKTI[0, 0, :, first : first + len(spec.channels)]
        counted_V = block.bold_counted_SKV[0, 0]
        bold_VR = (block.bold_SKVR[0, 0] / self._runner.twin.bold_scale_R)[counted_V]
        return api.Block(
            person=pseudonym,
            task=task,
            block=number,
            run=prepared.label(place, self._card.segments.burn_in_seconds),
            start=start,
            counted_from=start + self._card.segments.burn_in_seconds,
            end=start + step * len(stimulus_TI),
            step=step,
            alternatives=list(spec.alternatives),
            channels=list(spec.channels),
            stimulus=replies.plain(stimulus_TI.T),
            trials=replies.trials_of(block, prepared.run_of(place), spec),
            figures=replies.figures(indicators, did_M),
            bold_region=region,
            bold_seconds=replies.plain(start + block.volume_seconds_SKV[0, 0][counted_V]),
            **replies.bold_of(bold_VR, column),
        )

    def scene(self, request: api.SceneRequest) -> api.SceneReply:
        """Return simulations of a block by people's twins, with the requested change of their connectomes.

        Raises
        ------
        InputDataError
            There is no such person, task, block or region, or no intervention for a dose.
        StageError
            The twin's output is not finite, or too many different scenes are under way.
        """
        key = request.model_dump_json()
        with self._sharing:
            reply = self._under_way.get(key)
            is_first = reply is None
            if reply is None:
                if len(self._under_way) >= MOST_SCENES:
                    raise StageError(
                        f"{MOST_SCENES} scenes are under way, as many as wait here. Ask again in a moment."
                    )
                reply = self._under_way[key] = Future()
        if not is_first:  # who asks for the same gets the same
            return reply.result()
        try:
            reply.set_result(self._performed(request))
        except BaseException as error:  # noqa: BLE001, whoever waits for the same is to hear of it too
            reply.set_exception(error)
        finally:
            with self._sharing:
                del self._under_way[key]
        return reply.result()

    def living(self, request: api.LivingRequest) -> api.LivingReply:
        """Return what own trials tell the twin.

        Raises
        ------
        InputDataError
            There is no such person or task, too few trials, or the events cannot be read.
        StageError
            The twin has no person effects.
        """
        if not self._card.config.person_effects:
            raise StageError(
                "This twin has no person effects (`twin.person_effects: false`): own trials cannot change it. Train one with them."
            )
        taskset = self._runner.taskset
        names = tuple(spec.name for spec in taskset.specs)
        self._require("task", request.task, names)
        with self._learning:
            batch, unusable = self._own_batch(request)
            return learnt(self._runner, divided(batch, taskset.index(request.task), names), request.trials).model_copy(
                update={"unusable": unusable[:_ROWS_TOLD]}
            )

    def _own_batch(self, request: api.LivingRequest) -> tuple[Batch, list[str]]:
        """Return the trials of a person of the run, or of events that were given, and the rows that cannot be used."""
        if request.events is None:
            with self._lock:
                return self._prepare(str(request.person)).batch, []
        spec = self._runner.taskset.specs[self._runner.taskset.index(request.task)]
        run, unusable = read_events(spec, request.events)
        return self._runner.lay_out_stranger(run), unusable

    def _performed(self, request: api.SceneRequest) -> api.SceneReply:
        began = time.perf_counter()
        region, column = self._bold_region(request.bold_region)
        wanted = self._manual_change(request)
        with self._lock:
            people = [self._prepare(pseudonym) for pseudonym in request.people]
            if request.dose:
                self._require_found(people)
            block, _, spec = self._block(people[0], request.task, request.block)
            performances = list(self._hall.map(functools.partial(self._perform, block, wanted), people))
        counted_V = block.bold_counted_SKV[0, 0]
        num_alternatives = len(spec.alternatives)
        performers = []
        for pseudonym, (connectome, scene) in zip(request.people, performances, strict=True):
            bold_VR = scene.bold_SVR[0, counted_V]
            performers.append(replies.performer(pseudonym, connectome, scene, bold_VR, column, num_alternatives))
        began_at = float(block.start_seconds_SK[0, 0])
        return api.SceneReply(
            performers=performers,
            rt_seconds=replies.plain(performances[0][1].rt_seconds_G),
            bold_region=region,
            bold_seconds=replies.plain(began_at + block.volume_seconds_SKV[0, 0][counted_V]),
            seconds=round(time.perf_counter() - began, 4),
        )

    def _perform(self, block: Batch, wanted: ManualChange, prepared: PreparedPerson) -> tuple[api.Connectome, Scene]:
        """Return the simulation of one person's twin, on one core, because the matrices are too small for two."""
        nothing_SE = prepared.start.budget_S.new_zeros(1, prepared.start.num_edges)
        move = valid_change(wanted, prepared.start, prepared.found())
        own_SE, changed_SE = (prepared.start.connectome(change_SE) for change_SE in (nothing_SE, move.change_SE))
        scene = perform(self._runner.twin, block, changed_SE, self._runner.outlines)
        if not (scene.choice_SJA.isfinite().all() and scene.bold_SVR.isfinite().all()):
            raise StageError("The twin's output is not finite: is the connectome too far from those it was trained on?")
        distances = tuple(float(self._runner.twin.distance(one_SE)) for one_SE in (own_SE, changed_SE))
        return replies.connectome_of(wanted, prepared.start, move, distances), scene

    def _prepare(self, pseudonym: str) -> PreparedPerson:
        """Return a prepared person, from the cache if possible; called with the lock held."""
        if pseudonym not in self._met:
            self._require("person", pseudonym, self._people)
            (record,), batch = self._runner.lay_out([pseudonym])
            start = Start.of(batch.connectome_SE, len(self._card.region_names), budget=1.0)
            self._met[pseudonym] = PreparedPerson(record, batch, start, self._found(pseudonym, start))
            while len(self._met) > _PEOPLE_KEPT:
                self._met.popitem(last=False)
        self._met.move_to_end(pseudonym)
        return self._met[pseudonym]

    def _found(self, pseudonym: str, start: Start) -> Tensor | None:
        change_E = read_change(self._run / FOLDERS["intervene"], pseudonym) if self._search.state == "done" else None
        if change_E is None:
            return None
        if len(change_E) != start.num_edges:
            raise DamagedOutputError(
                f"{self._run / FOLDERS['intervene']} has changes of {len(change_E)} edges; the cohort has {start.num_edges}. "
                "Run `dtb intervene` again on this run's shards and twin."
            )
        return torch.from_numpy(change_E).to(start.budget_S)[None]

    def _block(self, prepared: PreparedPerson, task: str, number: int) -> tuple[Batch, int, TaskSpec]:
        taskset = self._runner.taskset
        self._require("task", task, [spec.name for spec in taskset.specs])
        places = prepared.places(taskset.index(task))
        if not 0 <= number < len(places):
            raise InputDataError(
                f"{prepared.record.pseudonym} has {len(places)} blocks of {task}, and block {number} was asked for. "
                "The first is 0." + ("" if places else " This person has no run of the task.")
            )
        return keep_segments(prepared.batch, [[places[number]]]), places[number], taskset.specs[taskset.index(task)]

    def _manual_change(self, request: api.ChangeRequest) -> ManualChange:
        names = self._card.region_names
        edges = []
        for one in request.edges:
            first, second = (self._require("region", name, names) for name in (one.first, one.second))
            if first == second:
                raise InputDataError(f"An edge joins two regions; both are {one.first!r}. Name another one.")
            edges.append((first, second, one.by))
        gains = tuple((self._require("region", one.region, names), one.gain) for one in request.gains)
        return ManualChange(tuple(edges), gains, request.dose)

    def _bold_region(self, name: str | None) -> tuple[str | None, int | None]:
        """Return a BOLD region's name and place; the first one if none is named."""
        names = self._card.bold_region_names
        if name is None:
            return (names[0], 0) if names else (None, None)
        return name, self._require("region with BOLD", name, names)

    def _require_found(self, people: Sequence[PreparedPerson]) -> None:
        for prepared in people:
            if prepared.found_SE is None:
                raise InputDataError(
                    f"There is no dose to give {prepared.record.pseudonym}: `dtb intervene` has found this person no change in {self._run}."
                )

    @staticmethod
    def _require(kind: str, name: str, names: Sequence[str]) -> int:
        """Return the place of a name, or refuse it with the known names."""
        if name in names:
            return names.index(name)
        near = difflib.get_close_matches(name, names, n=1)
        advice = (
            f"Did you mean {near[0]!r}?"
            if near
            else f"There are {len(names)}" + (f", {names[0]!r} first." if names else ".")
        )
        raise InputDataError(f"There is no {kind} {name!r} in this run. {advice}")

    def _part(self, pseudonym: str) -> Literal["training", "validation", "test", "none"]:
        if pseudonym in self._split.train:
            return "training"
        if pseudonym in self._split.validation:
            return "validation"
        return "test" if pseudonym in self._split.test else "none"

    def _intervention(self) -> api.Intervention | None:
        if self._search.state != "done":
            return None
        settings = self._search.settings.get("intervene", {})
        target = self._search.summary.get("target", settings.get("indicator", ""))
        return api.Intervention(target=str(target), direction=str(settings.get("direction", "")))
