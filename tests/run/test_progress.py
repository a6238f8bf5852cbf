"""Progress: what it says of each kind of trial, when, and that training is the same with it."""

from __future__ import annotations

import io
import sys
import time
import types
from typing import Any

import fake_algorithm as fake
import jax
import numpy as np
import pytest

import metajax
from metajax.progress import Bar, Lines
from metajax.training import _hundredth


def _algorithm(axis="adaptations", headline=None, episode_length=5) -> Any:
    spec = types.SimpleNamespace(score="return", episode_length=episode_length)
    family = types.SimpleNamespace(spec=spec)
    return types.SimpleNamespace(axis=axis, headline=headline, family=family)


@pytest.mark.parametrize(
    ("algorithm", "infos", "said"),
    [
        (
            _algorithm(),
            {"returns": [[1.0, 5.0, 2.0]]},
            "return 1.00 (before adaptation), 2.00 (after adaptation)",
        ),
        (
            _algorithm("episodes"),
            {"returns": [[1.0, 2.0]]},
            "return 1.00 (first episode), 2.00 (last episode)",
        ),
        (_algorithm("points"), {"returns": [[1.0, 2.0]]}, "return 2.00 (end of the lifetime)"),
        (_algorithm(), {"returns": [[1.0]]}, "return 1.00"),
        (
            _algorithm("episodes", episode_length=1),
            {"returns": [[1.0, 0.5, 1.0]]},
            "total reward 2.50",
        ),
        (
            _algorithm("points", ("loss", "prediction error")),
            {"returns": [[1.0, 2.0]], "loss": [0.25]},
            "prediction error 0.25",
        ),
        (_algorithm(), {}, ""),
    ],
)
def test_what_is_shown_is_what_training_improves(algorithm, infos, said, capsys):
    Lines(algorithm, 0, 2).update(1, {name: np.array(one) for name, one in infos.items()})
    _, *words, _ = capsys.readouterr().err.split("  ")
    assert words == [said][: len(said)]


def test_values_that_nothing_acts_on_are_shown_by_their_error():
    algorithm = metajax.make("meta-value", metajax.tasks.make("cartpole"))
    assert algorithm.headline == ("loss", "prediction error")


@pytest.fixture
def clock(monkeypatch):
    """The time, which a test moves."""
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def _blocks(screen, clock, seconds, number, start=0):
    """``number`` blocks of 10 iterations, whose return is their number."""
    for done in range(start, start + 10 * number, 10):
        clock.seconds += seconds
        returns = np.arange(done + 1.0, done + 11)[:, None]
        screen.update(done + 10, {"returns": returns, "env_steps": np.full(10, 500.0)})


def test_lines_are_smoothed_and_say_the_time_left(clock, capsys):
    with Lines(_algorithm(), 0, 160) as screen:
        _blocks(screen, clock, 30.0, 1)
        _blocks(screen, clock, 6.0, 15, start=10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == ("iteration 0/160  compiling; numbers are means of the last 4 iterations")
    # The first block, which is compiled, says nothing of the speed of the others.
    assert lines[1] == "iteration 10/160  return 8.50  30 s elapsed"
    assert lines[2] == (
        "iteration 20/160  return 18.50  833 steps/s  36 s elapsed, about 84 s left"
    )
    assert lines[-1] == "iteration 160/160  return 158.50  833 steps/s  2 min 0 s elapsed"


def test_lines_become_fewer(clock, capsys):
    with Lines(_algorithm(), 0, 10**4) as screen:
        _blocks(screen, clock, 7.2, 1000)  # two hours
    lines = capsys.readouterr().err.splitlines()
    assert 50 < len(lines) < 120


def test_a_bar_fits_a_narrow_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar(_algorithm(), 0, 20) as screen:
        screen.update(10, {"returns": np.array([[-12.0, -3.0]]), "env_steps": np.array([5])})
        screen.message("a [line] of text")
    said = terminal.getvalue()
    for words in (
        *("0/20", "compiling", "0 s elapsed", "10/20"),
        *("return -12.00 (before adaptation), -3.00", "a [line] of text"),
    ):
        assert words in said


@pytest.fixture
def algorithm():
    return fake.Fake().build(fake.FakeFamily().build())


def test_training_is_the_same_and_needs_no_rich(algorithm, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    key, seen = jax.random.key(0), []
    state, history = metajax.train(algorithm, key, 4, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "iteration 0/4  compiling"
    assert lines[-1].startswith("iteration 4/4  return -")
    assert lines[-1].endswith(" elapsed")
    plain, without = metajax.train(algorithm, key, 4)
    assert capsys.readouterr().err == ""
    for name in without:
        np.testing.assert_array_equal(history[name], without[name])
    np.testing.assert_array_equal(state.theta["w"], plain.theta["w"])

    def stop(reached, state, infos):
        seen.append(reached)
        return reached == 2

    metajax.train(algorithm, key, 4, block_size=2, on_block=stop, progress=True)
    assert seen == [2]


@pytest.mark.parametrize(("total", "size"), [(4, 1), (500, 5), (1050, 10), (250, 2), (997, 9)])
def test_progress_is_in_about_a_hundred_blocks(total, size):
    assert _hundredth(total) == size
