"""The tutorials on parts of one's own: their blocks run as they stand, one page after another."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import types
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
import pytest

import metajax
from metajax.algorithms import ALGORITHMS
from metajax.experiments import table_cells, table_definition
from metajax.run import config, extensions
from metajax.tasks import FAMILIES

pytestmark = pytest.mark.further
DIRECTORY = pathlib.Path(__file__).parents[1] / "docs" / "tutorials"
PAGES = ("environment", "network", "memory", "rule", "algorithm", "names", "table", "optimiser")
REGISTERED = ("line", "layer-rates")


class Block(NamedTuple):
    """A block of code, its page, and how many lines of that stand before it."""

    text: str
    page: str
    lines_before: int


def _blocks(language: str, pages: Sequence[str] = PAGES) -> list[Block]:
    texts = {name: (DIRECTORY / f"{name}.md").read_text(encoding="utf-8") for name in pages}
    return [
        Block(one[1], name, text.count("\n", 0, one.start(1)))
        for name, text in texts.items()
        for one in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


def _toml(file: str) -> str:
    return next(one.text for one in _blocks("toml") if one.text.startswith(f"# {file}\n"))


@pytest.fixture(scope="module")
def page() -> Iterator[types.ModuleType]:
    """What the Python blocks leave behind; the names that they register are forgotten."""
    module = types.ModuleType("extending")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
        patch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
        patch.setitem(sys.modules, "extending", module)
        for block in _blocks("python"):
            text = "\n" * block.lines_before + block.text
            exec(compile(text, f"{block.page}.md", "exec"), vars(module))
        yield module


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("history", (1, 2)),
        ("network_history", (1, 2)),
        ("memory_history", (1, 2)),
        ("momentum_history", (1, 3)),
        ("proximal_history", (1, 3)),
        ("lines_history", (1, 2)),
        ("layer_rates_history", (2, 2)),
        ("lion_history", (1, 2)),
    ],
)
def test_what_is_trained_has_returns(page, name, shape):
    history = jax.device_get(getattr(page, name))
    assert history["returns"].shape == shape
    for leaf in jax.tree.leaves(history):
        assert np.isfinite(leaf).all()
    # Rewards are distances of at most 3 to the goal, in eight steps of two episodes at most.
    assert (history["returns"] < 0).all()
    assert (history["returns"] > -3 * 8).all()


def test_a_family_of_three_functions(page):
    family = page.spring_family()

    @jax.jit
    def run():
        stiffness = family.sample(jax.random.key(0))
        state, _ = family.reset(jax.random.key(1), stiffness)

        def step(state, key):
            return family.step(key, stiffness, state, np.zeros(1, np.float32))

        return stiffness, jax.lax.scan(step, state, jax.random.split(jax.random.key(2), 25))[1]

    stiffness, steps = jax.device_get(run())
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), [9, 19])
    assert np.isfinite(page.spring_history["returns"]).all()
    # Nothing pushes, so that the spring keeps its energy, up to the size of the steps.
    position, velocity = steps.final_observation[:10].T
    energy = stiffness * position**2 + velocity**2
    np.testing.assert_allclose(energy, energy[0], rtol=0.2)


def test_the_memory_steps_as_it_trains(page):
    assert page.together.shape == (5, 2, 8)
    np.testing.assert_allclose(page.one_by_one, page.together, rtol=1e-5, atol=1e-6)
    assert np.std(page.together) > 0.01


@pytest.mark.parametrize("part", ["weights", "rates"])
def test_the_meta_gradient_reaches_every_part_of_theta(page, part):
    assert jax.tree.structure(page.gradient) == jax.tree.structure(page.theta)
    for leaf in jax.tree.leaves(page.gradient[part]):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 0


def test_the_step_sizes_are_learned(page):
    rates = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(page.state.theta["rates"])])
    # Two steps of Adam at 1e-3.
    assert 1e-4 < np.abs(rates - 0.1).max() < 3e-3
    assert page.curve.returns.shape == (4, 3)


def test_a_learned_optimiser_moves_parameters_of_any_shape(page):
    assert page.params.shape == (5,)
    assert 0 < np.abs(page.params).max() < 1


def test_a_population_over_devices():
    (block,) = _blocks("python", ["scaling"])[:1]
    found: dict = {}
    exec(block.text, found)
    assert np.isfinite(found["returns"]).all()
    assert found["returns"][0] != found["returns"][1]


def test_the_table_is_one(page, tmp_path):
    (tmp_path / "mine.toml").write_text(_toml("tables/mine.toml"), encoding="utf-8")
    table = table_definition.load("mine", tmp_path)
    assert isinstance(table, table_definition.Table)
    quick = table_cells.cells(table, "quick")
    assert [one.name for one in quick] == ["maml", "layer-rates", "untrained"]
    assert isinstance(quick[1].config.algorithm.options, page.LayerRates)
    assert len(table_cells.cells(table, "full")) == 7


def test_a_module_registers_what_a_config_names(tmp_path, monkeypatch):
    """The module is put together as the page says."""
    blocks = [one.text for one in _blocks("python")]
    parts = [
        next(text for text in blocks if marker in text)
        for marker in (
            "class MyEnv",
            "def layer_rate_learner",
            "def layer_rates(",
            "FAMILIES.register",
        )
    ]
    (tmp_path / "my_tasks.py").write_text("import optax\n" + "\n\n".join(parts), encoding="utf-8")
    (tmp_path / "mine.toml").write_text(_toml("mine.toml"), encoding="utf-8")
    for registry in (FAMILIES, ALGORITHMS):
        kept = {name: one for name, one in registry._entries.items() if name not in REGISTERED}
        monkeypatch.setattr(registry, "_entries", kept)
    monkeypatch.setattr(extensions, "_loaded", [])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    monkeypatch.chdir(tmp_path)
    try:
        extensions.load(["my_tasks"])
        algorithm, held_out = config.load(tmp_path / "mine.toml").build()
    finally:
        sys.modules.pop("my_tasks", None)
    assert isinstance(held_out, metajax.TaskFamily)
    assert held_out.spec.name == "line"
    assert held_out.spec.episode_length == 5
    assert set(jax.eval_shape(algorithm.init, jax.random.key(0)).theta) == {"weights", "rates"}
