"""Meta-Q-learning in unseen CartPole tasks: what the context is worth."""

import jax
import jax.numpy as jnp
import pytest

import metajax
from metajax.data.acting import actor_of
from metajax.data.fresh import fresh_episodes

NUM_TASKS, NUM_EPISODES, LENGTH = 40, 4, 100


@pytest.mark.slow
def test_the_context_finds_out_which_action_is_which():
    """The sign of the force is unknown, so that without a context no policy is good.

    The same trained weights act once on the context and once on one that is always blank.
    """
    family = metajax.tasks.make("cartpole", mirrored=True, episode_length=LENGTH)
    algorithm = metajax.make(
        "meta-q-learning",
        family,
        num_tasks=40,
        adaptations=100,
        target_rate=1.0,
        target_period=50,
        training_epsilon_steps=40_000,
        hidden_sizes=(64,),
        context_length=6,
        context_size=16,
        memory_size=64,
    )
    state, _ = metajax.train(algorithm, jax.random.key(0), 25, block_size=25)
    learner = algorithm.learner
    actor = actor_of(learner)

    def blanked(noise, theta, phi, memory, seen):
        return actor.act(noise, theta, phi, actor.memory(theta), seen)

    def mean_return(learner):
        source = fresh_episodes(family, learner, NUM_EPISODES, LENGTH, explore=False)

        def of_task(key):
            task, phi = family.sample(key), learner.begin(key, state.theta)
            _, chunk = source.next(key, state.theta, phi, task, ())
            return jnp.sum(chunk.reward) / NUM_EPISODES

        return jnp.mean(jax.jit(jax.vmap(of_task))(jax.random.split(jax.random.key(1), NUM_TASKS)))

    with_context, without = (
        mean_return(learner),
        mean_return(learner._replace(actor=actor._replace(act=blanked))),
    )
    assert with_context > 0.7 * LENGTH
    assert with_context > 2 * without
