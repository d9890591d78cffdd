"""The ledger counts a batch only when its status is there, and forgets nothing that is."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtb.errors import DamagedOutputError
from dtb.fleet.actors.ledger import FAILED, OK, Ledger, part_name, status_table


def values(*keys: str) -> pa.Table:
    return pa.table({"pseudonym": list(keys), "value": [float(len(key)) for key in keys]})


def test_a_committed_batch_is_finished_and_reads_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a", "b"], {"values": values("a", "b")}, status_table([("a", OK, "", 1.0), ("b", OK, "", 2.0)]))
    assert ledger.finished() == {"a", "b"}
    assert ledger.read("values").equals(values("a", "b"))


def test_tables_without_status_are_removed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a"], {"values": values("a")}, status_table([("a", OK, "", 1.0)]))
    ledger.commit(["b"], {"values": values("b")}, status_table([("b", OK, "", 1.0)]))
    (tmp_path / "status" / part_name(["b"])).unlink()
    (tmp_path / "values" / ".part-0.parquet.x.partial").write_bytes(b"half")
    assert ledger.finished() == {"a"}
    assert ledger.read("values")["pseudonym"].to_pylist() == ["a"]
    assert not list(tmp_path.rglob("*.partial"))


def test_failed_people_are_tried_again_and_the_others_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a", "b"], {"values": values("a")}, status_table([("a", OK, "", 1.0), ("b", FAILED, "why", 1.0)]))
    assert ledger.finished() == {"a"}
    assert ledger.read("values")["pseudonym"].to_pylist() == ["a"]
    assert ledger.read("status")["pseudonym"].to_pylist() == ["a"]
    ledger.commit(["b"], {"values": values("b")}, status_table([("b", OK, "", 1.0)]))
    assert ledger.finished() == {"a", "b"}


def test_work_done_twice_overwrites_itself(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    for _ in range(2):
        ledger.commit(["a"], {"values": values("a")}, status_table([("a", OK, "", 1.0)]))
    assert ledger.read("values").num_rows == 1


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("missing", ["all", "a row"])
def test_who_is_called_done_without_all_rows_is_done_again(tmp_path: Path, capsys, merged: bool, missing: str) -> None:
    ledger = Ledger(tmp_path, ["values", "others"])
    for keys in (["a", "b"], ["c"], ["d"]):
        tables = {"values": values(*keys), "others": values(*keys, *keys)}
        ledger.commit(keys, tables, status_table([(key, OK, "", 1.0) for key in keys]))
    if merged:
        ledger.merge([part_name(["a", "b"]), part_name(["c"])])
    name = part_name([part_name(["a", "b"]), part_name(["c"])]) if merged else part_name(["a", "b"])
    lost = {"a", "b", "c"} if merged else {"a", "b"}
    path = tmp_path / "others" / name
    if missing == "all":
        path.unlink()
    else:
        pq.write_table(pq.read_table(path).slice(1), path)
    assert ledger.done() == set("abcd") - lost
    assert ledger.finished() == set("abcd") - lost
    assert f"Results of {len(lost)} people" in capsys.readouterr().err
    assert set(ledger.read("values")["pseudonym"].to_pylist()) == set("abcd") - lost


def test_a_part_of_an_older_version_which_says_no_numbers_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a"], {"values": values("a")}, status_table([("a", OK, "", 1.0)]))
    pq.write_table(status_table([("a", OK, "", 1.0)]), tmp_path / "status" / part_name(["a"]))
    assert ledger.done() == ledger.finished() == {"a"}


def test_parts_with_lost_rows_are_not_merged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    for key in "ab":
        ledger.commit([key], {"values": values(key)}, status_table([(key, OK, "", 1.0)]))
    (tmp_path / "values" / part_name(["a"])).unlink()
    ledger.merge([part_name(["a"]), part_name(["b"])])
    assert ledger.done() == {"b"}


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a"], {"values": values("a")}, status_table([("a", OK, "", 1.0)]))
    path = tmp_path / "status" / part_name(["a"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedOutputError, match=part_name(["a"])):
        ledger.finished()


def test_unknown_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a table"):
        Ledger(tmp_path, ["values"]).commit(["a"], {"other": values("a")}, status_table([("a", OK, "", 1.0)]))


def test_the_ledger_knows_whether_a_batch_is_committed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    ledger.commit(["a"], {"values": values("a")}, status_table([("a", OK, "", 1.0)]))
    assert ledger.status_of(["a"]) == [{"pseudonym": "a", "status": OK, "reason": "", "seconds": 1.0}]
    assert ledger.status_of(["a", "b"]) is None


@pytest.mark.parametrize("cut_off_after", [0, 1, 2, 4, 7])
def test_merged_parts_hold_everybody_once_wherever_it_is_cut_off(tmp_path, monkeypatch, cut_off_after) -> None:
    ledger = Ledger(tmp_path, ["values", "others"])
    batches = [["a", "b"], ["c"], ["d", "e"]]
    for keys in batches:
        status = [(key, FAILED if key == "c" else OK, "", 1.0) for key in keys]
        some = [key for key in keys if key != "c"]
        tables = {"values": values(*some), "others": values(*some)}
        ledger.commit(keys, tables, status_table(status))
    whole = ledger.read("values").sort_by("pseudonym")
    removed, unlink = [], Path.unlink

    def counted(path, **how):
        if cut_off_after and len(removed) == cut_off_after:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, **how)

    monkeypatch.setattr(Path, "unlink", counted)
    with contextlib.suppress(KeyboardInterrupt):
        ledger.merge([part_name(keys) for keys in batches])
    monkeypatch.undo()
    assert ledger.done() == {"a", "b", "d", "e"}
    assert ledger.finished() == {"a", "b", "d", "e"}
    # Either the parts as they were, or the merged one alone, and nothing half done of the other.
    left = {len(list((tmp_path / table).iterdir())) for table in ("status", "values", "others")}
    assert left in ({1}, {2} if cut_off_after else {1})
    for table in ("values", "others"):
        assert ledger.read(table).sort_by("pseudonym").equals(whole)


def test_parts_are_merged_up_to_a_size(tmp_path, monkeypatch) -> None:
    ledger = Ledger(tmp_path, ["values"])
    for key in "abcd":
        ledger.commit([key], {"values": values(key)}, status_table([(key, OK, "", 1.0)]))
    size = (tmp_path / "values" / part_name(["a"])).stat().st_size
    monkeypatch.setattr("dtb.fleet.actors.ledger._MOST_BYTES", 2 * size)
    ledger.merge([part_name([key]) for key in "abcd"])
    assert len(list((tmp_path / "values").iterdir())) == 2
    assert ledger.finished() == set("abcd")


def test_pandas_and_duckdb_read_a_table_in_one_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, ["values"])
    for keys in (["a", "b"], ["c"]):
        ledger.commit(keys, {"values": values(*keys)}, status_table([(key, OK, "", 0.1) for key in keys]))
    table = pd.read_parquet(f"{tmp_path}/values")
    assert sorted(table["pseudonym"]) == ["a", "b", "c"]
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed (pip install -e .[dev])")
    found = duckdb.sql(f"SELECT pseudonym FROM '{tmp_path}/values/*.parquet' ORDER BY pseudonym").fetchall()
    assert found == [("a",), ("b",), ("c",)]
