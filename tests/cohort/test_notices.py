"""What had to be decided about files is said once for all people, listed file by file, and kept with who is finished."""

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.finished import FinishedPeople
from dtb.cohort.ingest import _say
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.series.timing import DROPPED_UNKNOWN, START_UNKNOWN
from dtb.config import IngestConfig
from tests.cohort.test_person import REGIONS, TASKS, Person


def test_each_notice_is_printed_once_with_how_many_it_is_about(tmp_path, capsys):
    notices = [(f"p{place % 3}", f"p{place % 3}_run-{place}.tsv", START_UNKNOWN) for place in range(5)]
    _say([*notices, ("p1", "p1_run-9.tsv", DROPPED_UNKNOWN)], tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("Warning: ") == 2
    assert f"of 5 series of 3 people: {START_UNKNOWN}. For example p0_run-0.tsv" in said
    assert f"of 1 series of 1 people: {DROPPED_UNKNOWN}. For example p1_run-9.tsv" in said


def test_notices_are_kept_with_a_finished_person_and_name_the_pseudonym_only(tmp_path):
    person = Person(tmp_path)
    config = IngestConfig(tasks=("stroop",))
    (files,) = index_people(person.bids, (person.derived,), config, TASKS)
    job = PersonJob(files, "p", no_covariates(), (person.derived,))
    read = read_person(job, REGIONS, TASKS, config)
    assert {text for _, text in read.notices} == {START_UNKNOWN, DROPPED_UNKNOWN}
    assert not any("sue" in name for name, _ in read.notices)
    finished = FinishedPeople(tmp_path / "out", None)
    finished.keep(job, read)
    finished.close()
    assert finished.finished([job]) == {"p"}
    assert finished.load(job).notices == read.notices
    path = next(person.func.glob("*stroop*.json"))
    path.write_text(path.read_text().replace("}", ', "StartTime": 0.4}'))
    assert not finished.finished([job])
