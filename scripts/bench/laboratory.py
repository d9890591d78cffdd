"""The work of the chain as one would do it without dtb: nilearn and pandas, scikit-learn, and a plain PyTorch loop.

    python scripts/bench/laboratory.py series BIDS DERIVATIVES OUT       # connectomes, behaviour and task series, an .npz a person
    python scripts/bench/laboratory.py regressions OUT                   # ridge and kernel ridge of behaviour, beside ours
    python scripts/bench/laboratory.py training OUT --people 34 6 --epochs 6 --batch 8

`chain.py` runs them. The loop has the sizes of `configs/demo.yaml`: a hypernetwork on 64 components, a latent of 8, 32 leaky units with a
personal change of rank 3, presses by their hazard at 100 ms, BOLD by convolution, which is one product; one batch after the other, Adam,
and a validation after each epoch. It is shorter than dtb's: no person effects, no checks.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `N` hidden unit, `R` region, `E` edge, `C` channel.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from dtb.machine.cores import usable_cores

TASKS = ("stroop", "hammer")
STEP, SEGMENT, STRIDE, BURN_IN, REPETITION_TIME = 0.1, 60.0, 36.0, 20.0, 0.8
CONDITIONS = {"stroop": ("con", "inc"), "hammer": ("face", "shape")}
NUM_HIDDEN, RANK, LATENT, COMPONENTS, ENCODER = 32, 3, 8, 64, 32


def series(bids: Path, derivatives: Path, out: Path, cores: int) -> None:
    """Read everybody's series and events, and write what later steps need, some people at once."""
    from joblib import Parallel, delayed

    out.mkdir(parents=True)
    people = sorted(path.name for path in derivatives.glob("sub-*"))
    Parallel(n_jobs=cores)(delayed(one_person)(bids, derivatives, person, out) for person in people)


def one_person(bids: Path, derivatives: Path, person: str, out: Path) -> None:
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import EmpiricalCovariance

    measure = ConnectivityMeasure(
        cov_estimator=EmpiricalCovariance(), kind="correlation", vectorize=True, discard_diagonal=True
    )
    rest = [table_of(path) for path in sorted((derivatives / person / "func").glob("*task-rest*timeseries.tsv"))]
    edges_E = np.mean([np.arctanh(measure.fit_transform([values_VR])[0]) for values_VR in rest], axis=0)
    motion = [
        pd.read_csv(path, sep="\t")["framewise_displacement"].mean()
        for path in (derivatives / person / "func").glob("*task-rest*motion.tsv")
    ]
    found = {"edges": edges_E.astype(np.float32), "motion": np.mean(motion)}
    for task in TASKS:
        (path,) = (derivatives / person / "func").glob(f"*task-{task}*timeseries.tsv")
        values_VR = table_of(path)
        found[f"{task}_bold"] = ((values_VR - values_VR.mean(0)) / values_VR.std(0)).astype(np.float32)
        (path,) = (bids / person / "func").glob(f"*task-{task}*events.tsv")
        events = pd.read_csv(path, sep="\t")
        first, second = CONDITIONS[task]
        found[f"{task}_onset"] = events["onset"].to_numpy()
        found[f"{task}_condition"] = events["trial_type"].str.startswith(second).to_numpy()
        found[f"{task}_rt"] = events["response_time"].to_numpy()
        found[f"{task}_correct"] = events["accuracy_binarized"].to_numpy() > 0
        by_condition = events.groupby(events["trial_type"].str.startswith(first))["response_time"].mean()
        found[f"{task}_figures"] = np.array([events["response_time"].mean(), by_condition[False] - by_condition[True]])
    np.savez(out / f"{person}.npz", **found)


def table_of(path: Path) -> np.ndarray:
    return pd.read_csv(path, sep="\t").to_numpy()


def regressions(folder: Path) -> dict[str, float]:
    """Return the seconds of ridge and kernel ridge regressions of four figures of behaviour, by scikit-learn and by dtb."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV

    from dtb.evaluate.predictors.regressions import KERNEL_PENALTIES, KERNEL_WIDTHS, PENALTIES, REGRESSIONS

    people = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    edges_SE = np.stack([person["edges"] for person in people]).astype(np.float64)
    edges_SE = (edges_SE - edges_SE.mean(0)) / edges_SE.std(0)
    figures_SY = np.stack([np.concatenate([person[f"{task}_figures"] for task in TASKS]) for person in people])
    training = np.arange(len(people)) % 5 != 0
    here_SE, there_QE, known_SY = edges_SE[training], edges_SE[~training], figures_SY[training]
    widths = {"alpha": KERNEL_PENALTIES, "gamma": KERNEL_WIDTHS / (2 * edges_SE.shape[1])}

    def ridge() -> None:
        RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(here_SE, known_SY).predict(there_QE)

    def kernel_ridge() -> None:
        for known_S in known_SY.T:
            GridSearchCV(KernelRidge(kernel="rbf"), widths).fit(here_SE, known_S).predict(there_QE)

    theirs: dict[str, Callable[[], object]] = {"ridge": ridge, "kernel_ridge": kernel_ridge}
    ours = {each.name: each.fit for each in REGRESSIONS}
    family_S = np.arange(len(here_SE))
    seconds = {}
    for name, fit in theirs.items():
        seconds[f"{name}, scikit-learn"] = timed(fit)
        seconds[f"{name}, dtb"] = timed(lambda name=name: ours[name](here_SE, there_QE, known_SY, family_S))
    return seconds


def timed(act: Callable[[], object]) -> float:
    """Return the seconds of the second of two calls."""
    act()
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def training(folder: Path, num_people: list[int], epochs: int, batch_size: int, threads: int) -> dict[str, float]:
    """Train for so many epochs, and return the number of steps, seconds of a later epoch, and segments in it."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    people = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))[: sum(num_people)]]
    train, validation = people[: num_people[0]], people[num_people[0] :]
    twin = make_twin(np.stack([person["edges"] for person in train]), train[0][f"{TASKS[0]}_bold"].shape[1])
    data = [laid_out(person) for person in people]
    steps = epochs * math.ceil(len(train) / batch_size)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=6e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        order = torch.randperm(len(train)).tolist()
        for begin in range(0, len(train), batch_size):
            loss = twin(*stacked([data[place] for place in order[begin : begin + batch_size]]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            for begin in range(0, len(validation), batch_size):
                twin(*stacked(data[len(train) :][begin : begin + batch_size]))
        seconds.append(time.perf_counter() - began)
    segments = len(people) * len(data[0][1])
    return {"steps": steps, "epoch_seconds": float(np.median(seconds[1:])), "segments": segments}


def laid_out(person: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return edges, and of each segment stimuli, presses and BOLD."""
    num_steps, num_volumes = round(SEGMENT / STEP), round(SEGMENT / REPETITION_TIME)
    stimuli, presses, bold = [], [], []
    for place, task in enumerate(TASKS):
        bold_VR = person[f"{task}_bold"]
        total = math.ceil(len(bold_VR) * REPETITION_TIME / STEP)
        stimulus_TC, press_TA = np.zeros((total, 4), np.float32), np.zeros((total, 2), np.float32)
        onset_J, rt_J = person[f"{task}_onset"], person[f"{task}_rt"]
        for onset, rt, which, right in zip(
            onset_J, rt_J, person[f"{task}_condition"], person[f"{task}_correct"], strict=True
        ):
            begin = round(onset / STEP)
            stimulus_TC[begin : begin + round(2.0 / STEP), 2 * place + int(which)] = 1.0
            if np.isfinite(rt) and (at := round((onset + rt) / STEP)) < total:
                press_TA[at, int(right)] = 1.0
        for start in np.arange(0.0, total * STEP - SEGMENT, STRIDE):
            first, volume = round(start / STEP), round(start / REPETITION_TIME)
            stimuli.append(stimulus_TC[first : first + num_steps])
            presses.append(press_TA[first : first + num_steps])
            bold.append(bold_VR[volume : volume + num_volumes])
    return person["edges"], np.stack(stimuli), np.stack(presses), np.stack(bold)


def stacked(people: list[tuple[np.ndarray, ...]]):  # type: ignore[no-untyped-def]
    import torch

    return [torch.from_numpy(np.stack(each)) for each in zip(*people, strict=True)]


def make_twin(edges_SE: np.ndarray, num_regions: int):  # type: ignore[no-untyped-def]
    """Return a module from connectomes, stimuli, presses and BOLD to the loss."""
    import torch
    from nilearn.glm.first_level import glover_hrf
    from sklearn.decomposition import PCA
    from torch import Tensor, nn
    from torch.nn.functional import softplus

    components = PCA(min(COMPONENTS, len(edges_SE) - 1)).fit(edges_SE)
    response = np.asarray(glover_hrf(STEP, oversampling=1), np.float32)
    lag_VT = (np.arange(round(SEGMENT / REPETITION_TIME))[:, None] * REPETITION_TIME / STEP).astype(int) - np.arange(
        round(SEGMENT / STEP)
    )
    inside_VT = (lag_VT >= 0) & (lag_VT < len(response))
    response_VT = np.where(inside_VT, response[lag_VT.clip(0, len(response) - 1)], np.float32(0))
    sizes = {"left": NUM_HIDDEN * RANK, "right": RANK * NUM_HIDDEN, "stimulus": NUM_HIDDEN * 4, "bias": NUM_HIDDEN}

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean_E", torch.from_numpy(components.mean_))
            self.register_buffer("axes_EP", torch.from_numpy(components.components_.T.copy()))
            self.register_buffer("response_VT", torch.from_numpy(response_VT))
            self.encoder = nn.Sequential(
                nn.Linear(components.n_components_, ENCODER), nn.Tanh(), nn.Linear(ENCODER, LATENT)
            )
            self.heads = nn.ModuleDict({name: nn.Linear(LATENT, size) for name, size in sizes.items()})
            self.shared_NN = nn.Parameter(torch.randn(NUM_HIDDEN, NUM_HIDDEN) / NUM_HIDDEN**0.5)
            self.rate_N = nn.Parameter(torch.zeros(NUM_HIDDEN))
            self.press, self.bold = nn.Linear(NUM_HIDDEN, 2), nn.Linear(NUM_HIDDEN, num_regions)

        def forward(self, edges_SE: Tensor, stimulus_SKTC: Tensor, press_SKTA: Tensor, bold_SKVR: Tensor) -> Tensor:
            latent_SZ = self.encoder((edges_SE - self.mean_E) @ self.axes_EP)
            made = {name: head(latent_SZ) for name, head in self.heads.items()}
            change_SNN = made["left"].unflatten(1, (NUM_HIDDEN, RANK)) @ made["right"].unflatten(1, (RANK, NUM_HIDDEN))
            weights_SNN = (self.shared_NN + change_SNN).mT
            drive_SKTN = torch.einsum("sktc,snc->sktn", stimulus_SKTC, made["stimulus"].unflatten(1, (NUM_HIDDEN, 4)))
            drive_SKTN = drive_SKTN + made["bias"][:, None, None]
            rate_N = torch.sigmoid(self.rate_N)
            state_SKN = stimulus_SKTC.new_zeros(*stimulus_SKTC.shape[:2], NUM_HIDDEN)
            states = []
            for drive_SKN in drive_SKTN.unbind(2):
                state_SKN = (1 - rate_N) * state_SKN + rate_N * torch.tanh(
                    torch.baddbmm(drive_SKN, state_SKN, weights_SNN)
                )
                states.append(state_SKN)
            states_SKTN = torch.stack(states, dim=2)
            hazard_SKTA = softplus(self.press(states_SKTN))
            log_SKTA = torch.log(-torch.expm1(-hazard_SKTA * STEP) + 1e-9)
            counted = round(BURN_IN / STEP)
            pressing = (hazard_SKTA * STEP - press_SKTA * (log_SKTA + hazard_SKTA * STEP))[:, :, counted:].mean()
            said_SKVR = self.bold(self.response_VT @ states_SKTN)
            skipped = round(BURN_IN / REPETITION_TIME)
            return pressing + ((said_SKVR - bold_SKVR) ** 2)[:, :, skipped:].mean()

    return Twin()


def main() -> None:
    """Do one part, and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("series", "regressions", "training"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--people", nargs=2, type=int, default=(34, 6), help="to train on, and to validate with")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cores", type=int, default=usable_cores())
    given = parser.parse_args()
    if given.part == "series":
        series(*given.folders, given.cores)
        return
    if given.part == "regressions":
        found = regressions(given.folders[0])
    else:
        found = training(given.folders[0], given.people, given.epochs, given.batch, given.cores)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
