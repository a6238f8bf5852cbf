"""The program that tries faults: its configs, and how it judges."""

from __future__ import annotations

import random

import faults
import pytest

from metajax.run import config


@pytest.mark.parametrize("kind", faults.KINDS)
def test_its_runs_can_be_trained(kind):
    config.parse(faults.text_of(*faults.KINDS[kind], iterations=8)).build()


def test_configs_are_counted(tmp_path):
    found = faults.fuzzed_configs(tmp_path, random.Random(0), 40)
    assert found.total() == 40
    assert found["unharmed"]
    assert found["refused"]
    assert not found["lost"]


@pytest.mark.parametrize(
    ("said", "fine"),
    [
        ("metajax: run: has no config\n", True),
        ("saved\nmetajax: it ends\n", True),
        ("Traceback (most recent call last):\nmetajax: it ends\n", False),
        ("metajax: " + "x" * 500, False),
        ("killed", False),
        ("", False),
    ],
)
def test_a_refusal_is_one_line(said, fine):
    assert faults.is_one_line(said) == fine


def test_damage_changes_a_file_or_its_kind(tmp_path):
    path, draw = tmp_path / "file", random.Random(0)
    for _ in range(40):
        path.write_bytes(b"0123456789")
        faults.damage(path, draw)
        assert not path.is_file() or path.is_symlink() or path.read_bytes() != b"0123456789"
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
