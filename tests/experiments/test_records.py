"""Result files: whole lines, and where they come from."""

from __future__ import annotations

import concurrent.futures
import os
import re

import numpy as np
import pytest

from metajax.core import files
from metajax.run import records
from metajax.run.config import digest


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    records.append(path, {"seed": 0, "curve": np.arange(3)})
    records.append(path, {"seed": np.int64(1), "value": float("nan"), "rate": np.float32(0.5)})
    assert records.read(path) == [
        {"seed": 0, "curve": [0, 1, 2]},
        {"seed": 1, "value": None, "rate": 0.5},
    ]


def test_a_missing_file_has_no_records(tmp_path):
    assert records.read(tmp_path / "none.jsonl") == []


def test_an_unfinished_line_is_skipped_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}\n{"se')
    assert records.read(path) == [{"seed": 0}]
    records.append(path, {"seed": 1})
    records.append(path, {"seed": 2})
    assert records.read(path) == [{"seed": 0}, {"seed": 1}, {"seed": 2}]


def test_a_record_that_lacks_only_its_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}')
    records.append(path, {"seed": 1})
    assert records.read(path) == [{"seed": 0}, {"seed": 1}]


@pytest.mark.parametrize("before", ["", '{"seed": 0}\n', '{"seed": 0}'])
def test_a_line_that_does_not_fit_the_disk_leaves_nothing(tmp_path, monkeypatch, before):
    path = tmp_path / "results.jsonl"
    path.write_text(before)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        with pytest.raises(OSError, match="No space left") as error:
            records.append(path, {"seed": 1})
    assert error.value.filename == str(path)
    assert path.read_text() == before


def test_damage_is_named_with_its_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}\noops\n{"seed": 1}\n')
    with pytest.raises(ValueError, match=re.escape("results.jsonl, line 2: not JSON")):
        records.read(path)
    path.write_text("[1]\n")
    with pytest.raises(records.Unreadable, match="line 1: not a JSON object"):
        records.read(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(records.Unreadable, match=r"results\.jsonl, line 1: not text"):
        records.read(path)
    with pytest.raises(records.Unreadable, match="cannot be read"):
        records.read(tmp_path)


def test_text_of_another_kind_is_not_cut(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo")
    records.append(path, {"seed": 1})
    assert path.read_text() == 'one\ntwo\n{"seed": 1}\n'


def test_a_setting_that_was_changed_is_damage(tmp_path):
    path = tmp_path / "results.jsonl"
    records.append(path, {"settings": {"rate": 0.1}, "digest": digest({"rate": 0.1})})
    assert len(records.read(path)) == 1
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(records.Unreadable, match="line 1: its digest is not that of its settings"):
        records.read(path)


def test_damaged_lines_are_set_aside(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"seed": 0}\n{"se\n\n{}\n\xff\n{"seed": 1}')
    said = records.mend(path)
    assert "results.jsonl: 2 damaged lines (2, 5) are set aside in results.jsonl.damaged" in said
    assert records.read(path) == [{"seed": 0}, {}, {"seed": 1}]
    assert (tmp_path / "results.jsonl.damaged").read_bytes() == b'{"se\n\xff\n'
    before = path.stat()
    assert records.mend(path) == ""
    assert path.stat() == before
    assert records.mend(tmp_path / "none.jsonl") == ""


def test_a_writer_that_waits_for_a_file_that_is_mended_writes_into_the_new_one(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('oops\n{"seed": 0}\n')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = files.lock(path)
        waiting = pool.submit(records.append, path, {"seed": 1})
        files.replace(path, '{"seed": 0}\n')
        os.close(held)
        waiting.result()
    assert records.read(path) == [{"seed": 0}, {"seed": 1}]


def test_writers_at_the_same_time_keep_lines_whole(tmp_path):
    path = tmp_path / "results.jsonl"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: records.append(path, {"i": i, "text": "x" * 5000}), range(64)))
    assert sorted(record["i"] for record in records.read(path)) == list(range(64))
