"""The tangent space: nilearn's to 1e-6, differentiable, fitted to those it is given alone, and what is absent has no influence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nilearn.connectome import ConnectivityMeasure
from sklearn.covariance import LedoitWolf
from torch import Tensor

from dtb.twin import Twin
from dtb.twin.sizes import TwinSizes
from dtb.twin.tangent import SMALLEST_EIGENVALUE, Tangent, fit_reference
from tests.twin.conftest import make_config

REGIONS = 9
ROWS, COLUMNS = np.triu_indices(REGIONS, 1)


def series_of(num_people: int = 12, volumes: int = 60, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((REGIONS, REGIONS))
    found = []
    for _ in range(num_people):
        values = rng.standard_normal((volumes, REGIONS)) @ (shared + 0.5 * rng.standard_normal((REGIONS, REGIONS)))
        found.append((values - values.mean(0)) / values.std(0))
    return found


def connectomes(series: list[np.ndarray]) -> Tensor:
    """Fisher z of Ledoit and Wolf's estimate, which for standardised series has a unit diagonal."""
    matrices = np.stack([LedoitWolf(store_precision=False).fit(values).covariance_ for values in series])
    return torch.from_numpy(np.arctanh(matrices[:, ROWS, COLUMNS]))


def fitted(connectome_SE: Tensor) -> Tangent:
    tangent = Tangent(REGIONS).double()
    tangent.set_reference(fit_reference(connectome_SE, REGIONS)[0])
    return tangent


def without(connectome_SE: Tensor, *regions: int) -> Tensor:
    touched = np.isin(ROWS, regions) | np.isin(COLUMNS, regions)
    return torch.where(torch.from_numpy(touched), torch.nan, connectome_SE)


def test_tangent_of_unseen_people_is_nilearns():
    training, others = series_of(), series_of(5, seed=1)
    measure = ConnectivityMeasure(
        cov_estimator=LedoitWolf(store_precision=False), kind="tangent", standardize=False, verbose=0
    ).fit(training)
    tangent = fitted(connectomes(training))
    np.testing.assert_allclose(tangent.reference_RR.numpy(), measure.mean_, atol=1e-6)
    expected = measure.transform(others)[:, ROWS, COLUMNS]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(tangent(connectomes(others)).numpy(), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "absent region", "singular", "equal eigenvalues"])
def test_gradient_is_that_of_finite_differences(case: str):
    tangent = fitted(connectomes(series_of()))
    at_SE = connectomes(series_of(2, seed=3))
    if case == "absent region":
        at_SE = without(at_SE, 2, 5)
    elif case == "singular":
        short = [np.corrcoef(values[:5].T)[ROWS, COLUMNS] for values in series_of(2, seed=4)]
        at_SE = torch.from_numpy(np.arctanh(np.stack(short)))
    elif case == "equal eigenvalues":
        tangent, at_SE = Tangent(REGIONS).double(), torch.zeros(1, len(ROWS), dtype=torch.float64)
    known_SE = ~at_SE.isnan()
    values = at_SE[known_SE].clone().requires_grad_()

    def follow(values: Tensor) -> Tensor:
        return tangent(torch.full_like(at_SE, torch.nan).masked_scatter(known_SE, values))[known_SE]

    assert torch.autograd.gradcheck(follow, values, atol=1e-5)


def test_absent_regions_are_absent_and_leave_somebody_like_the_reference_at_nought():
    tangent = fitted(connectomes(series_of()))
    scale_R = tangent.reference_RR.diagonal().sqrt()
    # Fisher z knows correlations only, so the reference is taken as one.
    tangent.set_reference(tangent.reference_RR / scale_R[:, None] / scale_R)
    like_E = tangent.reference_RR[ROWS, COLUMNS].atanh()[None]
    found_SE = tangent(without(like_E, 0, 4))
    touched = np.isin(ROWS, (0, 4)) | np.isin(COLUMNS, (0, 4))
    assert torch.equal(found_SE[0].isnan(), torch.from_numpy(touched))
    assert found_SE[0, ~touched].abs().max() < 1e-6


def test_reference_is_decided_by_those_who_have_a_region():
    whole_SE = connectomes(series_of(40))
    lacking_SE = whole_SE.clone()
    lacking_SE[:20] = without(whole_SE[:20], 3)
    (whole_RR, _), (lacking_RR, _), (nobody_RR, _) = (
        fit_reference(given, REGIONS) for given in (whole_SE, lacking_SE, without(whole_SE, 3))
    )
    others = [region for region in range(REGIONS) if region != 3]
    assert (whole_RR - lacking_RR).abs().max() < 0.25
    torch.testing.assert_close(lacking_RR[others][:, others], whole_RR[others][:, others], atol=0.03, rtol=0)
    torch.testing.assert_close(nobody_RR[3], torch.eye(REGIONS, dtype=torch.float64)[3])


def test_singular_matrices_are_raised_and_counted():
    series = series_of(6)
    short = [np.corrcoef(values[:5].T)[ROWS, COLUMNS] for values in series[:2]]
    connectome_SE = torch.cat([torch.from_numpy(np.arctanh(np.stack(short))), connectomes(series[2:])])
    reference_RR, num_raised = fit_reference(connectome_SE, REGIONS)
    assert num_raised == 2
    assert torch.linalg.eigvalsh(reference_RR)[0] > SMALLEST_EIGENVALUE
    assert torch.isfinite(fitted(connectome_SE)(connectome_SE)).all()


def test_twin_reads_the_tangent_and_a_masked_value_has_no_influence():
    torch.manual_seed(0)
    sizes = TwinSizes(REGIONS, 2, 2, 0)
    twin = Twin(make_config(connectome_space="tangent", connectome_components=0), sizes).eval()
    connectome_SE = connectomes(series_of()).float()
    assert twin.tangent is not None
    reference_RR, _ = fit_reference(connectome_SE, REGIONS)
    twin.tangent.set_reference(reference_RR, torch.full((sizes.num_edges,), 0.1), torch.full((sizes.num_edges,), 2.0))
    read_SE = twin.encoder_input(connectome_SE)
    torch.testing.assert_close(
        read_SE, (fitted(connectome_SE.double())(connectome_SE.double()).float() - 0.1) / 2, atol=1e-5, rtol=0
    )
    masked_SE = without(connectome_SE, 3)
    assert (twin.encoder_input(masked_SE)[masked_SE.isnan()] == 0).all()
    followed_SE = masked_SE.clone().requires_grad_()
    latent_SZ = twin.generate(followed_SE).latent_SZ
    assert latent_SZ is not None
    (slope_SE,) = torch.autograd.grad(latent_SZ.sum(), followed_SE)
    assert (slope_SE[masked_SE.isnan()] == 0).all()
    assert (slope_SE[~masked_SE.isnan()] != 0).all()


def test_matrices_stay_symmetric():
    tangent = fitted(connectomes(series_of()))
    matrix_SRR, _ = tangent.matrices(connectomes(series_of(3, seed=5)))
    torch.testing.assert_close(matrix_SRR, matrix_SRR.mT, atol=1e-10, rtol=0)
