"""Result files: whole lines, and where they come from."""

from __future__ import annotations

import concurrent.futures
import os
import re

import numpy as np
import pytest

from metajax.run import records


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
    with pytest.raises(records.Unreadable, match=r"results\.jsonl: not text"):
        records.read(path)
    with pytest.raises(records.Unreadable, match="cannot be read"):
        records.read(tmp_path)


def test_writers_at_the_same_time_keep_lines_whole(tmp_path):
    path = tmp_path / "results.jsonl"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: records.append(path, {"i": i, "text": "x" * 5000}), range(64)))
    assert sorted(record["i"] for record in records.read(path)) == list(range(64))
