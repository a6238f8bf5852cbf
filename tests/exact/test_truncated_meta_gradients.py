"""Meta-gradients of lifetimes that go on, against windows replayed by hand."""

import itertools

import jax
import jax.numpy as jnp
import mdp
import numpy as np
import optax
import pytest

from metajax import inner, losses, networks, outer
from metajax.core.layout import Layout
from metajax.core.problem import Problem
from metajax.data.buffer import uniform_replay
from metajax.data.lifetime import lifetime

NUM_TASKS, NUM_STREAMS, NUM_STEPS, WINDOW, LIFE = 4, 2, 3, 2, 9
THETA = {"discount": 1.0, "epsilon": -1.0, "mix": 0.3, "rate": -1.5, "target_rate": -0.5}
REFERENCE = 0.8


def _settings(theta, env_steps):
    del env_steps
    unit = {name: jax.nn.sigmoid(value) for name, value in theta.items()}
    return inner.QSettings(
        learning_rate=jnp.exp(theta["rate"]),
        discount=unit["discount"],
        epsilon=unit["epsilon"],
        mix=unit["mix"],
        target_rate=unit["target_rate"],
        huber_delta=0.7,
    )


def _learner(family, settings=_settings, optimizer=None):
    network = networks.q_network(family.spec, networks.MLP((4,), "tanh"))
    replay = uniform_replay(
        family.spec, num_streams=NUM_STREAMS, capacity=20, batch_size=4, num_steps=2
    )

    def start(key, theta):
        del theta
        return jax.tree.map(jnp.float64, network.init(key))

    return inner.q_learner(
        network,
        replay,
        optimizer=optax.trace(0.5) if optimizer is None else optimizer,
        settings=settings,
        updates=2,
        init=lambda key: jax.tree.map(jnp.float64, THETA),
        start=start,
    )


def _judge(family):
    return _learner(family, lambda *args: _settings(*args)._replace(discount=REFERENCE))


FAMILY = mdp.family_of(mdp.STOCHASTIC)._replace(sample=jax.random.uniform)  # tasks are numbers
LEARNER, JUDGE = _learner(FAMILY), _judge(FAMILY)
PROBLEM = lifetime(
    FAMILY, LEARNER, num_adaptations=LIFE, num_streams=NUM_STREAMS, num_steps=NUM_STEPS
)


def _estimator(num_tasks=NUM_TASKS, microbatch=None, problem=PROBLEM, **options):
    layout = Layout.build(num_tasks, microbatch, num_devices=1, whole=True)
    options = {"window": WINDOW, "judge": JUDGE, **options}
    return outer.truncated(problem, layout, losses.temporal_difference_loss, **options)


def _theta():
    return jax.tree.map(np.float64, THETA)


@pytest.fixture(scope="module")
def run():
    """Carries, gradients and logs of three meta-steps that nothing is learned in."""
    with jax.enable_x64(True):
        estimator = _estimator()
        estimate = jax.jit(estimator.estimate)
        carries, gradients, infos = [jax.jit(estimator.init)(jax.random.key(0), _theta())], [], []
        for step in range(4):
            gradient, carry, info = estimate(jax.random.key(step), _theta(), carries[-1])
            carries.append(carry)
            gradients.append(gradient)
            infos.append(info)
        return jax.device_get((carries, gradients, infos))


def _row(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@pytest.fixture(scope="module")
def windows(run):
    """What the second meta-step gives each lifetime: chunks, and the keys of its updates."""

    @jax.jit
    @jax.vmap
    def window(key, life):
        key_trial, key_query, _ = jax.random.split(key, 3)
        resumed = Problem(
            FAMILY,
            LEARNER._replace(begin=lambda key, theta: life.phi),
            PROBLEM.source._replace(open=lambda key, theta, task: life.source),
            num_adaptations=WINDOW,
        )
        trial = resumed.run(key_trial, _theta(), life.task)
        keys = jax.random.split(trial.keys.adapt, WINDOW)
        return trial.support, trial.query, keys, key_query

    with jax.enable_x64(True):
        return window(jax.random.split(jax.random.key(1), NUM_TASKS), run[0][1].life)


def _adapted(theta, phi, support, keys):
    def adapt(phi, given):
        chunk, key = given
        return LEARNER.adapt(LEARNER.noise(key), theta, phi, chunk), None

    return jax.lax.scan(adapt, phi, (support, keys))[0]


def _query_loss(theta, phi, query, target):
    value = LEARNER.predict(theta, phi, query).value
    return 0.5 * jnp.mean(jnp.square(value - target))


def test_the_gradient_is_that_of_finite_differences_of_the_window(run, windows):
    """Two adaptations of two updates with momentum each, the learner in mid-life."""
    carries, gradients, infos = run

    @jax.jit
    def loss_at(theta):
        def of_task(window, phi):
            support, query, keys, _ = window
            # What the error is of does not move with theta.
            base = _adapted(_theta(), phi, support, keys)
            target = JUDGE.predict(_theta(), base, query).target
            return _query_loss(theta, _adapted(theta, phi, support, keys), query, target)

        return jnp.mean(jax.vmap(of_task)(windows, carries[1].life.phi))

    np.testing.assert_allclose(infos[1]["loss"], loss_at(_theta()), rtol=1e-10)
    for name in THETA:
        step = 1e-6
        above = loss_at({**_theta(), name: _theta()[name] + step})
        below = loss_at({**_theta(), name: _theta()[name] - step})
        difference = (above - below) / (2 * step)
        np.testing.assert_allclose(gradients[1][name], difference, rtol=1e-5, atol=1e-9)
    moving = ("discount", "mix", "rate", "target_rate")
    assert min(abs(gradients[1][name]) for name in moving) > 1e-6, "zero would prove nothing"
    assert gradients[1]["epsilon"] == 0, "it acts on the experience alone"


def test_lifetimes_go_on_from_where_they_are(run, windows):
    """All chunks, the query too, are adapted to: phi and streams after are those by hand."""
    carries, _, _ = run

    @jax.jit
    @jax.vmap
    def by_hand(window, phi):
        support, query, keys, key_query = window
        phi = _adapted(_theta(), phi, support, keys)
        return LEARNER.adapt(LEARNER.noise(key_query), _theta(), phi, query), query.next_observation

    phis, reached = jax.device_get(by_hand(windows, carries[1].life.phi))
    goes_on = [i for i in range(NUM_TASKS) if carries[2].age[i] > 0]
    assert goes_on
    for index in goes_on:
        phi = _row(phis, index)
        for one, other in zip(
            *map(jax.tree.leaves, (phi, _row(carries[2].life.phi, index))), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-10)
        seen = carries[2].life.source.streams.seen
        np.testing.assert_array_equal(reached[index][-1], seen.observation[index])
        steps = phi.env_steps - carries[1].life.phi.env_steps[index]
        assert steps == (WINDOW + 1) * NUM_STEPS * NUM_STREAMS
        assert carries[2].age[index] == carries[1].age[index] + WINDOW + 1


def test_ages_are_staggered_and_old_lifetimes_give_way(run):
    """Lifetimes of three windows: they end in turn, and the next one is as good as new."""
    carries, _, _ = run
    ages = np.stack([carry.age for carry in carries])
    assert set(ages[0]) == {0, 3, 6}
    np.testing.assert_array_equal(ages[1:], (ages[:-1] + WINDOW + 1) % LIFE)
    steps = np.stack([carry.life.phi.env_steps for carry in carries])
    # The first lifetimes are as new as the others, and end as early as their age says.
    started = (ages == 0).cumsum(axis=0) > 0
    np.testing.assert_array_equal(steps[started], ages[started] * NUM_STEPS * NUM_STREAMS)
    born = (ages[1:] == 0).nonzero()
    assert len(born[0]) >= NUM_TASKS, "each has begun anew"
    for step, index in zip(*born, strict=True):
        new, old = _row(carries[step + 1].life, index), _row(carries[step].life, index)
        assert new.phi.updates == 0
        assert new.source.earned.latest.sum() == 0
        kernels = [jax.tree.leaves(life.phi.weights)[1] for life in (new, old)]
        assert not np.allclose(*kernels)


def test_a_new_lifetime_has_a_new_task(run):
    carries, _, _ = run
    for before, after in itertools.pairwise(carries):
        same = before.life.task == after.life.task
        np.testing.assert_array_equal(same, after.age > 0)


@pytest.mark.further
@pytest.mark.parametrize("options", [{"microbatch": 2}, {"derivative": "exact-remat"}], ids=str)
def test_layout_and_recomputation_change_rounding_only(run, options):
    carries, gradients, infos = run
    estimate = jax.jit(_estimator(**options).estimate)
    gradient, carry, info = estimate(jax.random.key(2), _theta(), carries[2])
    expected = gradients[2], carries[3], infos[2]
    for one, other in zip(*map(jax.tree.leaves, ((gradient, carry, info), expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)  # initial weights are float32


@pytest.mark.further
def test_epsilon_is_learned_by_the_score_of_what_was_done(run, windows):
    carries, _, _ = run
    estimator = _estimator(behaviour_loss=losses.behaviour_loss(REFERENCE))
    gradient, _, _ = jax.jit(estimator.estimate)(jax.random.key(1), _theta(), carries[1])

    @jax.jit
    @jax.vmap
    def chunks_and_values(window, phi):
        support, query, keys, key_query = window

        def watch(phi, given):
            chunk, key = given

            def values_of(action):
                acted = chunk._replace(action=jnp.full_like(chunk.action, action))
                return JUDGE.predict(_theta(), phi, acted).value

            values = jax.vmap(values_of, out_axes=-1)(jnp.arange(mdp.NUM_ACTIONS))
            target = JUDGE.predict(_theta(), phi, chunk).target
            seen = chunk.action, chunk.reward, chunk.truncated, target, values
            return LEARNER.adapt(LEARNER.noise(key), _theta(), phi, chunk), seen

        chunks = jax.tree.map(lambda some, last: jnp.stack([*some, last]), support, query)
        _, seen = jax.lax.scan(watch, phi, (chunks, jnp.stack([*keys, key_query])))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen)

    epsilon = 1 / (1 + np.exp(-THETA["epsilon"]))
    scores = []
    seen = jax.device_get(chunks_and_values(windows, carries[1].life.phi))
    for index in range(NUM_TASKS):
        action, reward, truncated, target, values = _row(seen, index)
        num_steps = len(action)
        assert num_steps == (WINDOW + 1) * NUM_STEPS
        for stream in range(NUM_STREAMS):
            for step in range(num_steps):
                # The return up to the end of the episode or of the window.
                value, end, factor = 0.0, step, 1.0
                while end < num_steps - 1 and not truncated[end, stream]:
                    value += factor * reward[end, stream]
                    factor *= REFERENCE
                    end += 1
                value += factor * target[end, stream]
                q = values[step, stream]
                greedy = action[step, stream] == q.argmax()
                expected = (1 - epsilon) * q.max() + epsilon * q.mean()
                chosen = (1 - epsilon) * greedy + epsilon / mdp.NUM_ACTIONS
                slope = (1 / mdp.NUM_ACTIONS - greedy) / chosen * epsilon * (1 - epsilon)
                scores.append(slope * (value - expected))
    np.testing.assert_allclose(gradient["epsilon"], -np.mean(scores), rtol=1e-6)
    assert abs(gradient["epsilon"]) > 1e-4


def test_adam_with_a_floor_has_finite_meta_gradients_where_nothing_moves():
    """Rewards of zero and a rectifier that is off leave gradients of exactly zero."""
    chunk = jax.eval_shape(_chunk)

    @jax.jit
    @jax.grad
    def slope(rate, floor):
        learner = _learner(FAMILY, optimizer=optax.scale_by_adam(eps_root=floor))
        theta = {**_theta(), "rate": rate}
        phi = learner.begin(jax.random.key(0), theta)
        zeros = jax.tree.map(jnp.zeros_like, phi.weights)
        phi = phi._replace(weights=zeros, target=zeros)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), chunk)

        def adapt(phi, key):
            return learner.adapt(learner.noise(key), theta, phi, nothing), None

        phi, _ = jax.lax.scan(adapt, phi, jax.random.split(jax.random.key(0)))
        return jnp.sum(learner.predict(theta, phi, nothing).value)

    assert np.isfinite(slope(_theta()["rate"], 1e-8))
    assert not np.isfinite(slope(_theta()["rate"], 0.0))


def _chunk():
    theta = _theta()
    phi = LEARNER.begin(jax.random.key(0), theta)
    source = PROBLEM.source
    state = source.open(jax.random.key(1), theta, ())
    return source.next(source.noise(jax.random.key(3), ()), theta, phi, (), state)[1]


@pytest.mark.further
def test_separate_copies_are_runs_of_their_own():
    problem = PROBLEM._replace(num_adaptations=4)
    estimator = _estimator(num_tasks=1, problem=problem, window=1, judge=None)
    rule = outer.once(estimator, optax.sgd(0.1))
    apart = outer.separate(rule, Layout.build(3, num_devices=1, whole=True))
    thetas = jax.tree.map(lambda value: value + np.arange(3) / 10, _theta())

    @jax.jit
    def run():
        carry = apart.init(jax.random.key(0), thetas)
        together = apart.update(jax.random.key(1), thetas, carry)
        third = jax.random.split(jax.random.key(1), 3)[2]
        alone = rule.update(third, _row(thetas, 2), _row(carry, 2))
        return together, alone, apart.deploy(thetas, carry)

    (after, _, info), (one, _, info_one), deployed = jax.device_get(run())
    for name in THETA:
        np.testing.assert_allclose(after[name][2], one[name], rtol=1e-9)
    assert info["env_steps"] == 3 * info_one["env_steps"]
    for name in THETA:
        np.testing.assert_allclose(deployed[name], thetas[name][1], rtol=1e-12)
