"""One person's file may ask for all memory, hang or crash: it costs that file, its neighbours are read, and the machine is left alone."""

import ctypes
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dtb.cohort import first_files
from dtb.cohort.bounded import ReadingProcess, bounded_memory
from dtb.errors import InputDataError, SetAsideError


def read(path: Path) -> str:
    """Do what the file's name says."""
    if path.stem == "greedy":
        np.ones(2**40)
    if path.stem == "crash":
        ctypes.string_at(0)
    if path.stem == "hang":
        time.sleep(1000)
    if path.stem == "refused":
        raise SetAsideError("kind", "no good")
    if path.stem == "bug":
        raise ZeroDivisionError("divided")
    print("libraries may print")
    return path.stem.upper()


@pytest.mark.slow
def test_what_a_file_does_to_its_reader_costs_that_file_and_its_neighbours_are_read():
    names = ["first", "greedy", "crash", "refused", "bug", "last"]
    with ReadingProcess(seconds=200, max_memory_gib=0.5) as reader:
        found = list(reader.read(read, [Path(f"{name}.tsv") for name in names]))
    assert (found[0], found[-1]) == ("FIRST", "LAST")
    assert all(isinstance(each, InputDataError) for each in found[1:-1])
    for each, words in zip(
        found[1:-1],
        ("max_memory_gib 0.5", "crash.tsv: reading it crashed", "no good", "ZeroDivisionError: divided"),
        strict=True,
    ):
        assert words in str(each)


def test_a_file_that_hangs_is_given_up_when_its_time_is_over():
    begun = time.monotonic()
    with ReadingProcess(seconds=0.5, max_memory_gib=1) as reader:
        (found,) = reader.read(read, [Path("hang.tsv")])
    assert "hang.tsv: reading takes longer than 0.5 s" in str(found)
    assert time.monotonic() - begun < 100


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is bounded on Linux alone")
def test_memory_is_bounded_in_this_process_and_its_children_and_free_again_afterwards():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded_memory(0.25):
        np.ones(2**20)
        with pytest.raises(MemoryError):
            np.empty(2**29)
        limit, _ = resource.getrlimit(
            resource.RLIMIT_DATA
        )  # what this process had taken before counts, and a child has taken nothing
        assert os.system(f"{os.sys.executable} -c 'bytearray({limit})' 2>/dev/null") != 0
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(np.empty(2**29)) == 2**29


def test_no_module_of_the_folder_that_dtb_is_run_in_is_imported(tmp_path, monkeypatch):
    """A folder of data may hold anything: `pickle.py` there would be taken for Python's own by whoever begins in it."""
    (tmp_path / "pickle.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with ReadingProcess(seconds=60, max_memory_gib=1.0) as reader:
        (found,) = reader.read(Path.exists, [tmp_path])
    assert found is True


def process_number(path: Path) -> int:
    """Return the number of the process that reads a file, unless the file ends it."""
    read(path)
    return os.getpid()


@pytest.mark.slow
def test_one_process_reads_all_files_and_is_begun_anew_only_after_a_file_that_ended_it():
    with ReadingProcess(seconds=200, max_memory_gib=0.5) as reader:
        before = list(reader.read(process_number, [Path("one"), Path("greedy"), Path("refused"), Path("two")]))
        (again, _, after) = reader.read(process_number, [Path("three"), Path("crash"), Path("four")])
    assert before[0] == before[3] == again != after
    with pytest.raises(ProcessLookupError):
        os.kill(after, 0)


def loaded(_: Path) -> list[str]:
    """Return which large packages the process that reads has imported."""
    return sorted({"torch", "ray", "pandas", "scipy.io", "scipy.stats", "matplotlib"} & set(sys.modules))


@pytest.mark.slow
def test_the_process_that_tries_the_first_files_imports_nothing_large():
    """Everybody's `dtb ingest` waits for it."""
    with ReadingProcess(seconds=200, max_memory_gib=0.5, imports=first_files.__name__) as reader:
        (found,) = reader.read(loaded, [Path("any")])
    assert found == []
