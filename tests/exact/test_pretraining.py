"""What comes before fine-tuning: all classes at once, and pairs to be told from others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax
from metajax import inner, losses, networks, outer, tasks
from metajax.core.family import DataFamily, DataSpec, Examples
from metajax.tasks.pairs import pairs

NUM_CLASSES, WAYS, TEMPERATURE = 7, 2, 0.3
SIZES = {"num_tasks": 2, "num_streams": 4, "hidden_sizes": (5,), "projection_size": 3}


def _corners(classes=True):
    """Points around their class, or with its number as value; a task is two classes of seven."""
    spec = DataSpec("corners", (3,), WAYS if classes else 1, classes=classes)

    def points(key, chosen):
        return chosen[:, None] + 0.01 * jax.random.normal(key, (len(chosen), 3))

    def sample(key):
        return jax.random.choice(key, NUM_CLASSES, (WAYS,), replace=False)

    def draw(key, task, num_examples):
        labels = jnp.arange(num_examples, dtype=jnp.int32) % WAYS
        chosen = task[labels] if classes else jnp.full(num_examples, task[0])
        return Examples(points(key, chosen), labels if classes else 1.0 * chosen[:, None])

    def draw_any(key, task, num_examples):
        chosen = jax.random.randint(key, (num_examples,), 0, NUM_CLASSES)
        return Examples(points(key, chosen), chosen)

    everything = DataSpec("all corners", (3,), NUM_CLASSES, classes=True)
    pool = DataFamily(everything, lambda key: (), draw_any) if classes else None
    return DataFamily(spec, sample, draw, pool=pool)


def _nt_xent(embedded):
    """Equation 1 of Chen et al. (2020), pair by pair; rows i and n + i are a pair."""
    units = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    number, found = len(units), []
    for i in range(number):
        j = (i + number // 2) % number
        others = [np.exp(units[i] @ units[k] / TEMPERATURE) for k in range(number) if k != i]
        found.append(-np.log(np.exp(units[i] @ units[j] / TEMPERATURE) / sum(others)))
    return np.mean(found)


def test_the_contrastive_loss_and_its_slope_by_hand(x64):
    rows = np.random.default_rng(0).normal(size=(6, 4))

    @jax.jit
    @jax.value_and_grad
    def loss(embedded):
        logits = losses.similarity_logits(embedded, TEMPERATURE)
        return losses.cross_entropy(logits, Examples(embedded, losses.partners(3)))

    value, slope = jax.device_get(loss(rows))
    np.testing.assert_allclose(value, _nt_xent(rows), rtol=1e-12)
    for place in ((0, 0), (2, 3), (5, 1)):
        step = np.zeros_like(rows)
        step[place] = 1e-6
        expected = (_nt_xent(rows + step) - _nt_xent(rows - step)) / 2e-6
        np.testing.assert_allclose(slope[place], expected, rtol=1e-7)


def _drawn(family, key, number):
    draw = jax.jit(lambda key: family.draw(key, family.sample(key), number))
    return jax.device_get(draw(key))


def test_pairs_are_of_one_class_or_one_task(key):
    examples = _drawn(pairs(_corners(), 3, 4), key, 1)
    first, second = np.round(examples.inputs).reshape(2, 3 * WAYS, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(examples.targets, np.roll(np.arange(12), 6))
    assert (np.diff(first.reshape(3, WAYS, 3), axis=1) != 0).all(), "two classes of a task"
    sets = _drawn(pairs(_corners(classes=False), 3, 4), key, 1)
    assert sets.inputs.shape == (6, 4, 4)
    values = np.round(sets.inputs)
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1, -1:], values.shape))
    np.testing.assert_array_equal(values[:3], values[3:])
    assert (sets.inputs[:3, :, :3] != sets.inputs[3:, :, :3]).all(), "other examples of it"


@pytest.mark.parametrize("pretraining", ["classes", "contrastive"])
def test_theta_is_that_of_joint_training_and_the_head_stays_behind(pretraining, key):
    family = _corners()
    algorithm = metajax.make(
        "finetune", family, pretraining=pretraining, strategy="adapters", **SIZES
    )
    joint = metajax.make("joint", family, num_tasks=2, num_streams=4, hidden_sizes=(5,))

    @jax.jit
    def run(key):
        state = algorithm.init(key)
        after, info = algorithm.step(key, state)
        theta = algorithm.deploy(after)
        trial = algorithm.adapt(key, theta, family.sample(key), num_adaptations=1)
        return state, after, theta, info, trial.returns

    state, after, theta, info, returns = jax.device_get(run(key))
    expected = jax.eval_shape(joint.init, key).theta
    assert jax.tree.map(jnp.shape, theta) == jax.tree.map(jnp.shape, expected)
    moved = jax.tree.map(lambda one, other: np.abs(one - other).max() > 0, state.theta, theta)
    assert moved["predictor"]["torso"]["Dense_0"]["kernel"]
    assert not any(jax.tree.leaves(moved["predictor"]["output"]))
    head = after.carry.own["predictor"]
    size = NUM_CLASSES if pretraining == "classes" else SIZES["projection_size"]
    assert head["output"]["kernel"].shape == (5, size)
    assert (head["output"]["kernel"] != state.carry.own["predictor"]["output"]["kernel"]).any()
    assert info["returns"].shape == (1,)
    assert returns.shape == (2,)


def test_the_slope_of_all_classes_is_that_of_softmax(key):
    """``features' (softmax - one hot) / n`` of the head, and nothing of the head of tasks."""
    family = _corners()
    model = networks.predictor(family.spec, networks.MLP((5,)))
    features_of = model.features
    assert features_of is not None
    pretext = inner.all_classes(family, model, 6)
    objective = outer.post_adaptation(pretext.problem, losses.cross_entropy)

    @jax.jit
    def run(key):
        theta = pretext.problem.learner.init(key)
        item, _ = objective.collect(key, theta)
        gradient, _ = jax.grad(objective.loss, has_aux=True)(theta, item)
        return theta, gradient, item.query, features_of(theta[0], item.query.inputs)

    (_, theta), (unused, slopes), query, features = jax.device_get(run(key))
    head = theta["predictor"]["output"]
    odds = np.exp(features @ head["kernel"] + head["bias"])
    errors = odds / odds.sum(axis=1, keepdims=True) - np.eye(NUM_CLASSES)[query.targets]
    expected = features.T @ errors / 6
    np.testing.assert_allclose(slopes["predictor"]["output"]["kernel"], expected, atol=1e-6)
    assert not any(leaf.any() for leaf in jax.tree.leaves(unused["predictor"]["output"]))
    assert unused["predictor"]["torso"]["Dense_0"]["kernel"].any()


def test_a_cosine_head_compares_angles():
    head = networks.CosineHead(2, scale=10.0)
    rows = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    weights = {"params": {"kernel": np.array([[2.0, 0.0], [0.0, -5.0]], np.float32)}}
    half = 10 * 2**-0.5
    expected = [[10, 0], [half, -half], [0, 0]]
    found: Any = head.apply(weights, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("gaussian-blobs", {"pretraining": "classes"}, ["pretraining", "share no classes"]),
        ("sinusoid", {"pretraining": "classes"}, ["pretraining", "sinusoid"]),
        ("sinusoid", {"head": "cosine"}, ["head", "no classes"]),
        (
            "point-navigation",
            {"head": "cosine"},
            ["head", "no meaning on point-navigation, an environment"],
        ),
        (
            "point-navigation",
            {"pretraining": "contrastive"},
            ["pretraining", "no meaning on point-navigation"],
        ),
        ("glyphs", {"pretraining": "classes", "inner_steps": 1}, ["inner_steps: 1", "classes"]),
    ],
)
def test_what_does_not_fit_is_named(family, options, words):
    with pytest.raises(metajax.OptionError) as error:
        metajax.make("finetune", tasks.make(family), **options)
    for word in words:
        assert word in str(error.value)


# --- Learning ----------------------------------------------------------------------------


@pytest.mark.slow
def test_features_told_apart_serve_new_waves():
    """A head on contrastive features of sine waves fits new ones better than on random ones.

    On random features it is the worse the longer it is trained, on 10 points of each wave.
    """
    sizes = {"hidden_sizes": (40, 40), "strategy": "head", "updates_per_step": 10}
    sizes |= {"pretraining": "contrastive", "num_streams": 50, "temperature": 0.1}

    def scores(theta):
        evaluation = metajax.evaluate(
            algorithm, jax.random.key(1), theta, num_tasks=200, num_adaptations=5, num_streams=10
        )
        return evaluation.mean()

    algorithm = metajax.make("finetune", tasks.make("sinusoid"), inner_lr=0.05, **sizes)
    start = algorithm.init(jax.random.key(0)).theta
    state, _ = metajax.train(algorithm, jax.random.key(0), 300)
    random, trained = scores(start), scores(state.theta)
    assert trained[-1] > 0.95 * random[-1]
    assert trained[-1] > trained[0]
    assert random[-1] < random[0]
