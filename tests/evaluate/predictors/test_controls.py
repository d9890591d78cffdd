"""Control cohorts: everything but the connectome stays, and the connectome goes."""

import numpy as np
import pytest

from dtb.config import Config
from dtb.errors import OutputInUseError
from dtb.evaluate.predictors.controls import with_code, write_control
from dtb.shards.manifest import CohortDescription
from dtb.shards.read import open_cohort
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = OutputFolder.claim(tmp_path_factory.mktemp("cohort") / "shards", "ingest", Config(), resume=False)
    writer = ShardWriter(folder.path, 4)
    for record in make_people(9):
        writer.add(record)
    names = tuple(f"region{number}" for number in range(NUM_REGIONS))
    writer.finish(CohortDescription(names, STROOP.to_plain(), {"made": "of chance"}, "0" * 64))
    folder.finish({})
    return folder.path


@pytest.mark.parametrize("kind", ["codes", "permuted"])
def test_people_keep_what_they_did_and_lose_their_connectome(shards, tmp_path, kind):
    write_control(Config(), shards, tmp_path / "control", kind, resume=False)
    real, control = open_cohort(shards), open_cohort(tmp_path / "control")
    assert set(real.pseudonyms) == set(control.pseudonyms)
    assert real.manifest.cohort_hash != control.manifest.cohort_hash
    assert "control" in control.manifest.description.connectome
    for pseudonym in real.pseudonyms:
        mine, theirs = real.record(pseudonym), control.record(pseudonym)
        np.testing.assert_array_equal(mine.runs[0].trials.rt_seconds_J, theirs.runs[0].trials.rt_seconds_J)
        np.testing.assert_array_equal(mine.runs[0].bold_VR, theirs.runs[0].bold_VR)
        assert mine.covariates == theirs.covariates
        assert not np.array_equal(mine.connectome_E, theirs.connectome_E, equal_nan=True)


def test_permuted_connectomes_are_the_cohorts_own_each_used_once(shards, tmp_path):
    write_control(Config(), shards, tmp_path / "control", "permuted", resume=False)

    def of(folder) -> list[bytes]:
        return sorted(record.connectome_E.tobytes() for record in open_cohort(folder).records())

    assert of(shards) == of(tmp_path / "control")


def test_a_code_is_fixed_by_the_person_and_the_seed_and_says_nothing():
    one, other = make_people(2)
    assert (with_code(one, 500, 3).connectome_E == with_code(one, 500, 3).connectome_E).all()
    assert (with_code(one, 500, 3).connectome_E != with_code(one, 500, 4).connectome_E).all()
    codes = [with_code(person, 5000, 3).connectome_E for person in (one, other)]
    assert abs(np.corrcoef(*codes)[0, 1]) < 0.06
    assert not np.isnan(codes[0]).any()


def test_a_used_folder_is_refused_and_a_finished_one_is_kept(shards, tmp_path):
    first = write_control(Config(), shards, tmp_path / "control", "codes", resume=False)
    assert write_control(Config(), shards, tmp_path / "control", "codes", resume=True) == first
    with pytest.raises(OutputInUseError):
        write_control(Config(), shards, tmp_path / "control", "codes", resume=False)
