"""What every registered family of labelled examples must keep to, and what each draws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import metajax
from metajax import tasks
from metajax.core.family import DataFamily
from metajax.core.options import OptionError
from metajax.tasks.supervised.gaussian_blobs import bayes_accuracy, bayes_logits
from metajax.tasks.supervised.linear_regression import bayes_predictions
from metajax.tasks.supervised.teacher_network import outputs

NAMES = [
    name
    for name in tasks.list()
    if tasks.FAMILIES.get(name).__module__.startswith("metajax.tasks.supervised")
]
NUM_EXAMPLES = 6


@pytest.fixture(scope="module", params=NAMES)
def family(request, tmp_path_factory) -> DataFamily:
    if request.param != "image-folder":
        return tasks.make(request.param)
    root, levels = tmp_path_factory.mktemp("images"), iter(range(1, 255))
    for folder in (root / name for name in "abcdefghij"):
        folder.mkdir()
        for file in "1234":
            Image.new("L", (2, 2), next(levels)).save(folder / f"{file}.png")
    return tasks.make(request.param, path=str(root), size=2)


def test_examples_have_the_shapes_of_the_spec(family, key):
    spec = family.spec
    task = jax.eval_shape(family.sample, key)
    examples = jax.eval_shape(lambda key, task: family.draw(key, task, NUM_EXAMPLES), key, task)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((task, examples)))
    assert examples.inputs.shape == (NUM_EXAMPLES, *spec.input_shape)
    assert examples.inputs.dtype == jnp.float32
    shape, dtype = ((), jnp.int32) if spec.classes else ((spec.num_outputs,), jnp.float32)
    assert examples.targets.shape == (NUM_EXAMPLES, *shape)
    assert examples.targets.dtype == dtype
    hash(spec)


def _drawn(family, key):
    key_task, key_draw = jax.random.split(key)
    task = family.sample(key_task)
    return task, family.draw(key_draw, task, NUM_EXAMPLES)


def test_tasks_and_examples_are_determined_by_the_key(family):
    draw = jax.jit(lambda key: _drawn(family, key))
    one, same, other = (draw(jax.random.key(seed)) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one))
    assert not np.allclose(one[1].inputs, other[1].inputs)
    assert not np.allclose(jax.tree.leaves(one[0])[0], jax.tree.leaves(other[0])[0])


def test_one_task_alone_equals_it_in_a_batch(family, key):
    @jax.jit
    def run(keys):
        return jax.vmap(lambda key: _drawn(family, key))(keys), _drawn(family, keys[1])

    batch, alone = jax.device_get(run(jax.random.split(key, 3)))
    jax.tree.map(lambda b, a: np.testing.assert_allclose(b[1], a, rtol=1e-5), batch, alone)


def test_classes_come_in_turn(family, key):
    if family.spec.classes:
        number = 2 * family.spec.num_outputs
        targets = jax.jit(lambda key: family.draw(key, family.sample(key), number).targets)(key)
        np.testing.assert_array_equal(np.bincount(targets), [2] * family.spec.num_outputs)


def test_sinusoids_are_those_of_the_paper(key):
    family = tasks.make("sinusoid")

    @jax.jit
    def run(key):
        waves = jax.vmap(family.sample)(jax.random.split(key, 1000))
        wave = jax.tree.map(lambda leaf: leaf[0], waves)
        return waves, wave, family.draw(key, wave, 1000)

    waves, wave, (inputs, targets) = jax.device_get(run(key))
    for values, low, high in ((waves.amplitude, 0.1, 5.0), (waves.phase, 0.0, math.pi)):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, rtol=0.05)
    assert -5 <= inputs.min() < -4.9
    assert 4.9 < inputs.max() <= 5
    by_hand = [
        [float(wave.amplitude) * math.sin(float(x) - float(wave.phase))] for x in inputs[:, 0]
    ]
    np.testing.assert_allclose(targets, by_hand, rtol=1e-4, atol=1e-5)


def test_sinusoids_of_many_frequencies():
    """Li et al. (2017), "Meta-SGD": frequencies uniform in [0.8, 1.2]."""
    family = tasks.make("sinusoid", frequencies=(0.8, 1.2))
    waves = jax.jit(jax.vmap(family.sample))(jax.random.split(jax.random.key(0), 1000))
    assert 0.8 <= waves.frequency.min() < 0.81 < 1.19 < waves.frequency.max() <= 1.2
    shares = [waves.frequency, waves.phase, waves.amplitude]
    assert np.abs(np.corrcoef(np.stack(shares)) - np.eye(3)).max() < 0.1
    wave = jax.tree.map(lambda leaf: leaf[0], waves)
    inputs, targets = jax.jit(lambda key: family.draw(key, wave, 9))(jax.random.key(1))
    by_hand = wave.amplitude * np.sin(wave.frequency * np.asarray(inputs) - wave.phase)
    np.testing.assert_allclose(targets, by_hand, rtol=1e-4, atol=1e-5)
    with pytest.raises(OptionError, match="allowed: the lowest, then the highest"):
        tasks.make("sinusoid", frequencies=(1.2, 0.8))


def test_blobs_lie_around_their_means_with_unit_noise(key):
    family = tasks.make("gaussian-blobs", num_classes=3, num_features=2)
    means = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, -5.0]], np.float32)
    draw = jax.jit(family.draw, static_argnums=2)
    inputs, targets = jax.device_get(draw(key, means, 6000))
    for number, mean in enumerate(means):
        mine = inputs[targets == number]
        assert len(mine) == 2000
        np.testing.assert_allclose(mine.mean(axis=0), mean, atol=0.1)
        np.testing.assert_allclose(np.cov(mine.T), np.eye(2), atol=0.1)


def test_bayes_accuracy_of_two_classes_is_known(key):
    family = tasks.make("gaussian-blobs", num_classes=2, num_features=2)
    means = np.array([[0.0, 0.0], [1.2, 1.6]], np.float32)  # 2 apart
    exact = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    accuracy = jax.jit(lambda means: bayes_accuracy(key, family, means, 40_000))(means)
    np.testing.assert_allclose(accuracy, exact, atol=0.005)


def test_bayes_logits_are_those_of_the_posterior():
    """By hand, for one coordinate: two points of the first class and none of the second."""
    support, inputs = (jnp.array([[one], [other]]) for one, other in ((1.0, 2.0), (0.5, 4.0)))
    seen = metajax.Examples(support, jnp.array([0, 0]))
    found = jax.jit(lambda: bayes_logits(seen, inputs, 2, 2.0))()
    first, second = (3 / 2.25, 1 + 1 / 2.25), (0.0, 1 + 4.0)  # mean and variance of a new point
    expected = [-0.5 * ((inputs - mean) ** 2 / var + np.log(var)) for mean, var in (first, second)]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-5)


def test_rows_of_a_quadratic_are_its_examples(key):
    family = tasks.make("quadratics", size=4)

    @jax.jit
    def run(key):
        task = family.sample(key)
        draws = [family.draw(jax.random.key(seed), task, size) for seed, size in ((1, 4), (2, 2))]
        return task, *draws

    task, (inputs, targets), (rows, _) = jax.device_get(run(key))
    theta = np.arange(4.0)[:, None]
    value = np.sum((task.inputs @ theta - task.targets) ** 2)
    np.testing.assert_allclose(np.sum((inputs @ theta - targets) ** 2), value, rtol=1e-5)
    where = [int(np.argwhere((task.inputs == row).all(axis=1))[0, 0]) for row in rows]
    assert len(set(where)) == 2, "without replacement"
    with pytest.raises(OptionError, match="5 is not possible; allowed: at most 4"):
        family.draw(key, task, 5)


def test_uniform_entries_of_a_quadratic_are_worse_conditioned(key):
    def spread(entries):
        family = tasks.make("quadratics", size=10, entries=entries)
        drawn = jax.jit(jax.vmap(family.sample))(jax.random.split(key, 50))
        return drawn, np.median(np.linalg.cond(drawn.inputs))

    (uniform, other), (_, normal) = spread("uniform"), spread("normal")
    for leaf in uniform:
        assert 0 <= np.min(leaf) < 0.01 < 0.99 < np.max(leaf) <= 1
    assert other > 2 * normal


def test_the_error_of_the_bayes_predictor_is_known():
    """Noise, and what the posterior of bias and weights leaves: the trace of its covariance."""
    noise, shots = 0.5, 6
    family = tasks.make("linear-regression", num_features=3, noise=noise)

    def of_task(key):
        key_task, key_support, key_query = jax.random.split(key, 3)
        task = family.sample(key_task)
        support = family.draw(key_support, task, shots)
        query = family.draw(key_query, task, 20)
        predicted = bayes_predictions(support, query.inputs, noise)
        return jnp.mean((predicted - query.targets) ** 2), support.inputs

    errors, inputs = jax.jit(jax.vmap(of_task))(jax.random.split(jax.random.key(0), 5000))
    rows = np.concatenate([inputs, np.ones((5000, shots, 1))], axis=-1)
    precision = np.eye(4) + np.swapaxes(rows, 1, 2) @ rows / noise**2
    expected = noise**2 + np.trace(np.linalg.inv(precision), axis1=1, axis2=2)
    np.testing.assert_allclose(errors.mean(), expected.mean(), rtol=0.03)


def test_teachers_give_values_and_labels():
    values = tasks.make("teacher-network", hidden_sizes=(5, 3))
    task = jax.jit(values.sample)(jax.random.key(0))
    inputs, targets = jax.jit(lambda key: values.draw(key, task, 500))(jax.random.key(1))
    hidden = np.asarray(inputs)
    for kernel, bias in task[:-1]:
        hidden = np.tanh(hidden @ kernel + bias)
    np.testing.assert_allclose(targets, hidden @ task[-1].kernel + task[-1].bias, atol=1e-5)
    assert abs(targets.mean()) < 0.3
    assert 0.7 < targets.std() < 1.3

    labels = tasks.make("teacher-network", num_classes=4)

    def right(key):
        key_task, key_draw = jax.random.split(key)
        task = labels.sample(key_task)
        inputs, targets = labels.draw(key_draw, task, 8)
        return jnp.argmax(outputs(task, inputs), axis=-1) == targets

    found = jax.jit(jax.vmap(right))(jax.random.split(jax.random.key(2), 500))
    assert found.mean() > 0.98
