"""Shards at a URL: read once a node into a cache of bounded size, trusted by their SHA-256, and refused in a sentence otherwise."""

from __future__ import annotations

import dataclasses
import errno
import functools
import http.server
import multiprocessing
import threading
from pathlib import Path

import fsspec
import pytest

from dtb.cli.command_line import parse
from dtb.config import Config, InputConfig
from dtb.errors import ConfigurationError, DamagedOutputError, InputDataError, UserError
from dtb.pipeline import steps_of
from dtb.shards.existing import use_existing_shards
from dtb.shards.inspect import verify_shards
from dtb.shards.manifest import Manifest
from dtb.shards.read import open_cohort, require_ingested
from dtb.shards.remote import absolute, url_of
from dtb.stages import OutputFolder
from tests.shards.people import write_people
from tests.shards.test_shards import assert_same


class _Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTB_CACHE", str(folder))
    return folder


@pytest.fixture
def served(tmp_path, cache):
    """Six people in three shards: the folder, its URL, and the list of what is asked of the server."""
    folder = tmp_path / "shards"
    folder.mkdir()
    write_people(folder, 6, subjects_per_shard=2)
    handler = type("Handler", (_Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}", handler.asked
        server.shutdown()
        thread.join()


def test_people_at_a_url_are_those_of_the_folder_and_each_shard_is_read_once(served):
    folder, url, asked = served
    cohort = open_cohort(Path(url))
    for remote, local in zip(cohort.records(), open_cohort(folder).records(), strict=True):
        assert_same(remote, local)
    list(open_cohort(Path(url)).records())
    assert sorted(path for path in asked if path.endswith(".tar")) == [
        f"/shard-0000{number}.tar" for number in range(3)
    ]


def test_a_cache_without_locks_is_used_with_one_warning(served, cache, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder, url, _ = served
    for remote, local in zip(open_cohort(Path(url)).records(), open_cohort(folder).records(), strict=True):
        assert_same(remote, local)
    said = capsys.readouterr().err
    assert said.count("without locks") == 1
    assert f"{cache} lies on a file system without locks (No locks available)" in said
    assert "set DTB_CACHE to a disk with locks" in said


def test_fsspec_memory_file_system_serves_too(served):
    folder, _, _ = served
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/cohort", recursive=True)
    try:
        people = list(open_cohort(Path("memory://cohort")).records())
    finally:
        files.rm("/cohort", recursive=True)
    assert [person.pseudonym for person in people] == [f"p{number:04d}" for number in range(6)]


def test_cache_stays_within_its_size_and_keeps_what_was_used_last(served, cache, monkeypatch):
    folder, url, asked = served
    shards = Manifest.load(folder).shards
    room = sum(sorted(shard.num_bytes for shard in shards)[1:])  # for two of them, whichever
    monkeypatch.setenv("DTB_CACHE_GIB", repr(room / 2**30))
    cohort = open_cohort(Path(url))

    def use(*people):
        for number in people:
            cohort.record(f"p{number:04d}")
            assert sum(path.stat().st_size for path in cache.glob("*.tar")) <= room

    use(0, 2, 0, 4)  # the third shard takes the place of the second, for the first was used since
    assert {path.stem for path in cache.glob("*.tar")} == {shards[0].sha256, shards[2].sha256}
    use(0, 1, 4, 5)
    assert sum(path.endswith(".tar") for path in asked) == 3


def test_cache_that_is_smaller_than_the_cohort_is_told_of_with_the_size_needed(served, monkeypatch, capsys):
    folder, url, _ = served
    needed = sum(shard.num_bytes for shard in Manifest.load(folder).shards) / 2**30
    monkeypatch.setenv("DTB_CACHE_GIB", repr(needed))
    open_cohort(Path(url))
    monkeypatch.setenv("DTB_CACHE_GIB", repr(needed * 0.9))
    open_cohort(Path(url), verify=False)
    assert capsys.readouterr().err == ""
    open_cohort(Path(url))
    assert "Set DTB_CACHE_GIB to 0.01 at least" in " ".join(capsys.readouterr().err.split())


def test_ranks_of_a_node_read_each_shard_once(served):
    _, url, asked = served
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_read_everybody, args=(url,)) for _ in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0, 0]
    assert sorted(path for path in asked if path.endswith(".tar")) == [
        f"/shard-0000{number}.tar" for number in range(3)
    ]


def _read_everybody(url):
    assert len(list(open_cohort(Path(url)).records())) == 6


def test_altered_shard_is_refused_and_not_kept(served, cache):
    folder, url, _ = served
    cohort = open_cohort(Path(url))
    path = folder / "shard-00001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedOutputError, match=r"http://.*shard-00001\.tar is not what its manifest says"):
        cohort.record("p0002")
    assert not [file for file in cache.iterdir() if file.stat().st_size]


def test_what_is_absent_is_said(served, monkeypatch):
    folder, url, _ = served
    with pytest.raises(InputDataError, match="elsewhere/manifest.json does not exist"):
        open_cohort(Path(url) / "elsewhere")
    with pytest.raises(InputDataError, match="nosuch"):
        open_cohort(Path("nosuch://bucket/cohort"))
    cohort = open_cohort(Path(url))
    (folder / "shard-00000.tar").unlink()
    with pytest.raises(InputDataError, match=r"shard-00000\.tar does not exist"):
        cohort.record("p0000")
    monkeypatch.setattr("dtb.shards.remote._WAITS_SECONDS", (0.0,))
    with pytest.raises(InputDataError, match="cannot be read"):
        open_cohort(Path("http://127.0.0.1:9/cohort"))


@pytest.mark.parametrize(
    ("said", "words"), [("1e-9", "does not fit into the cache"), ("much", "expected a number of GiB")]
)
def test_cache_that_cannot_hold_a_shard_is_refused(served, monkeypatch, said, words):
    _, url, _ = served
    monkeypatch.setenv("DTB_CACHE_GIB", said)
    with pytest.raises(ConfigurationError, match=words):
        open_cohort(Path(url)).record("p0000")


@pytest.mark.parametrize("place", ["url", "folder"])
def test_a_run_borrows_shards_and_copies_their_small_files(served, tmp_path, place):
    folder, url, asked = served
    OutputFolder(folder, "ingest", "0" * 64, is_resumed=False, is_complete=False).finish({})
    (folder / "quarantine.tsv").write_text("pseudonym\treason\n")
    run, shards = tmp_path / "run" / "shards", Path(url) if place == "url" else folder
    for _ in range(2):  # a second time there is nothing to do
        use_existing_shards(Config(), shards, run, resume=True)
    require_ingested(run)
    assert (run / "quarantine.tsv").read_bytes() == (folder / "quarantine.tsv").read_bytes()
    assert not list(run.glob("*.tar"))
    for borrowed, own in zip(open_cohort(run).records(), open_cohort(folder).records(), strict=True):
        assert_same(borrowed, own)
    assert any(path.endswith(".tar") for path in asked) == (place == "url")
    (shard := folder / "shard-00001.tar").write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DamagedOutputError, match=r"shard-00001\.tar was altered"):
        open_cohort(run if place == "folder" else folder)


@pytest.mark.parametrize(
    "said",
    [
        "other people's",
        "../shards",
        "/etc",
        "file:///etc",
        "reference:///etc",
        "x" * 10_000,
        "\x00",
        "",
        "http://a:b@c/d",
    ],
)
def test_a_folder_of_somebody_else_s_that_points_elsewhere_is_not_followed(tmp_path, said):
    for name, number in (("shards", 2), ("other", 3)):
        (tmp_path / name).mkdir()
        write_people(tmp_path / name, number)
    place = tmp_path / "shards" / "shards_lie_at.txt"
    place.write_text(str(tmp_path / "other") if said == "other people's" else said)
    for read in (open_cohort, verify_shards):
        with pytest.raises(UserError) as found:
            read(tmp_path / "shards")
        assert "a:b" not in str(found.value)
        assert len(str(found.value)) < 700


def test_a_run_has_either_shards_or_a_bids_tree(tmp_path):
    given = InputConfig(shards=Path("s3://bucket/shards"))
    assert [step.stage for step in steps_of(Config(input=given), tmp_path)][:2] == ["ingest", "train"]
    with pytest.raises(ConfigurationError, match=r"input\.shards and input\.bids"):
        steps_of(Config(input=dataclasses.replace(given, bids=tmp_path)), tmp_path)


def test_url_survives_the_command_line_and_a_folder_stays_one():
    stage, _ = parse("train", ["s3://bucket/a/shards", "out"])
    assert url_of(stage.shards) == "s3://bucket/a/shards"
    assert stage.out == Path.cwd() / "out"
    assert url_of(Path("C:/data")) is None


def test_a_link_to_a_file_keeps_its_name_and_folders_are_where_they_are(tmp_path, monkeypatch):
    """git-annex links to files named after their content: `_task-`, `tpl-` and the table beside an atlas were lost with the name."""
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "MD5E-s1.tsv").write_text("a")
    (tmp_path / "here").symlink_to("objects")
    for name, target in (
        ("sub-1_task-a_events.tsv", "objects/MD5E-s1.tsv"),
        ("sub-2_task-a_events.tsv", "objects/gone"),
    ):
        (tmp_path / name).symlink_to(target)
        monkeypatch.chdir(tmp_path)
        assert absolute(Path(name)) == tmp_path / name
    assert absolute(Path("here")) == tmp_path / "objects"
    assert absolute(Path("here/MD5E-s1.tsv")) == tmp_path / "objects" / "MD5E-s1.tsv"
