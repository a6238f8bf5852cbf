"""Learning end to end where the right answer is known."""

import jax
import pytest
import toys

import metajax


@pytest.mark.slow
def test_maml_learns_to_adapt_where_one_policy_for_all_cannot_help():
    """Which of two arms pays is the task: before adapting, half is the best there is."""
    family = toys.arms(episode_length=2)
    key, test_key = jax.random.split(jax.random.key(0))
    options = {"num_tasks": 20, "num_streams": 10, "inner_lr": 0.3, "learning_rate": 0.02}
    curves = {}
    for name in ("maml", "joint"):
        algorithm = toys.make(name, family, **options)
        state, _ = metajax.train(algorithm, key, 150)
        curves[name] = metajax.evaluate(
            algorithm, test_key, state.theta, num_tasks=400, num_adaptations=1
        ).mean()
        print(name, curves[name])
    assert curves["joint"][0] < 1.15
    assert curves["maml"][1] > 1.9
    assert curves["maml"][1] > curves["joint"][1] + 0.3
