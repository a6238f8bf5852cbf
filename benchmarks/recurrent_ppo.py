"""RL2 against a recurrent PPO written the ordinary way, side by side in one run.

    python benchmarks/recurrent_ppo.py                            # bandit, 100 pulls, 10 arms
    python benchmarks/recurrent_ppo.py --family gridnavi
    python benchmarks/recurrent_ppo.py --json --output FILE

The yardstick has the structure that single-file recurrent PPO programs in JAX have: a
flax ``GRUCell`` under ``nn.scan``, environments under ``vmap``, minibatches of whole
sequences, all on one device. Network, batch, epochs, minibatches, losses and
environment are those of the ``rl2`` it stands beside, which takes all devices unless
``--set algorithm.devices=1``; both run in turns, so that other load on the machine slows
both. A line of --json has the fields that tables read of ``metajax bench``, for rl2, and
``ratio`` to the yardstick's ``yardstick_env_steps_per_second``.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from metajax import cli
from metajax.core.options import OptionError


def make_yardstick(family: Any, options: Any) -> tuple[Any, Any]:
    """``init(key) -> state`` and ``step(key, state) -> (state, info)`` of a plain recurrent PPO.

    Args:
      family: the task family.
      options: of the ``rl2`` that it is measured against.
    """
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    spec = family.spec
    num_actions, num_envs = spec.action_space.num_actions, options.num_tasks
    num_steps = spec.episodes_per_trial * spec.episode_length

    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, carry, xs):
            def body(cell, carry, x):
                return cell(carry, x)

            scan = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
            return scan(nn.GRUCell(options.hidden_size), carry, xs)

    class ActorCritic(nn.Module):
        @nn.compact
        def __call__(self, carry, seen):
            observation, action, reward, start = seen
            one_hot = jax.nn.one_hot(action, num_actions)
            scalars = jnp.stack([reward, start.astype(jnp.float32)], -1)
            flat = observation.reshape(*observation.shape[:2], -1)
            carry, hidden = Scanned()(carry, jnp.concatenate([flat, one_hot, scalars], -1))
            return carry, nn.Dense(num_actions)(hidden), nn.Dense(1)(hidden)[..., 0]

    network = ActorCritic()
    optimizer = optax.chain(
        optax.clip_by_global_norm(options.max_grad_norm), optax.adam(options.learning_rate)
    )

    def apply(parameters, hidden, seen) -> Any:
        return network.apply(parameters, hidden, seen)

    def empty():
        return jnp.zeros((num_envs, options.hidden_size))

    def init(key):
        seen = (
            jnp.zeros((1, num_envs, *spec.observation_shape)),
            jnp.zeros((1, num_envs), jnp.int32),
            jnp.zeros((1, num_envs)),
            jnp.zeros((1, num_envs), bool),
        )
        parameters = network.init(key, empty(), seen)
        return parameters, optimizer.init(parameters)

    def gae(traj):
        _, _, reward, value, _ = traj

        def backwards(carry, now):
            advantage, following = carry
            reward, value = now
            delta = reward + options.discount * following - value
            advantage = delta + options.discount * options.gae_lambda * advantage
            return (advantage, value), advantage

        zeros = jnp.zeros(num_envs)
        _, advantages = jax.lax.scan(backwards, (zeros, zeros), (reward, value), reverse=True)
        return advantages, advantages + value

    def loss_fn(parameters, carry, batch):
        (seen, action, _, _, log_prob), advantage, target = batch
        _, logits, value = apply(parameters, carry, seen)
        log_probs = jax.nn.log_softmax(logits)
        now = jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]
        ratio = jnp.exp(now - log_prob)
        bounded = jnp.clip(ratio, 1 - options.clip, 1 + options.clip)
        policy_loss = -jnp.minimum(ratio * advantage, bounded * advantage).mean()
        value_loss = 0.5 * jnp.square(value - target).mean()
        entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
        return (
            policy_loss
            + options.value_coefficient * value_loss
            - options.entropy_coefficient * entropy
        )

    def step(key, state):
        parameters, opt_state = state
        key_task, key_reset, key_steps, key_epochs = jax.random.split(key, 4)
        tasks = jax.vmap(family.sample)(jax.random.split(key_task, num_envs))
        env_state, timestep = jax.vmap(family.reset)(jax.random.split(key_reset, num_envs), tasks)
        seen = (
            timestep.observation,
            jnp.full(num_envs, -1),
            jnp.zeros(num_envs),
            jnp.ones(num_envs, bool),
        )

        def env_step(carry, key):
            env_state, seen, hidden = carry
            key_act, key_env = jax.random.split(key)
            now = jax.tree.map(lambda leaf: leaf[None], seen)
            hidden, logits, value = apply(parameters, hidden, now)
            action = jax.random.categorical(key_act, logits[0])
            log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(num_envs), action]
            keys = jax.random.split(key_env, num_envs)
            env_state, timestep = jax.vmap(family.step)(keys, tasks, env_state, action)
            record = (seen, action, timestep.reward, value[0], log_prob)
            seen = (timestep.observation, action, timestep.reward, timestep.done)
            return (env_state, seen, hidden), record

        keys = jax.random.split(key_steps, num_steps)
        _, traj = jax.lax.scan(env_step, (env_state, seen, empty()), keys)
        advantage, target = gae(traj)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        batch = (traj, advantage, target)

        def epoch(carry, key):
            order = jax.random.permutation(key, num_envs)
            size = num_envs // options.num_minibatches

            def minibatches(leaf):
                shuffled = jnp.take(leaf, order, axis=1)
                split = shuffled.reshape(num_steps, -1, size, *leaf.shape[2:])
                return jnp.swapaxes(split, 0, 1)

            def update(carry, minibatch):
                parameters, opt_state = carry
                grads = jax.grad(loss_fn)(parameters, empty()[:size], minibatch)
                updates, opt_state = optimizer.update(grads, opt_state, parameters)
                return (optax.apply_updates(parameters, updates), opt_state), None

            return jax.lax.scan(update, carry, jax.tree.map(minibatches, batch))[0], None

        keys = jax.random.split(key_epochs, options.num_epochs)
        state, _ = jax.lax.scan(epoch, (parameters, opt_state), keys)
        return state, traj[2].sum(0).mean()

    return init, step


def compare(config: Any, iterations: int, repeats: int) -> dict[str, Any]:
    """Times both, one after the other, ``repeats`` times; see the module's docstring."""
    import jax
    import numpy as np

    from metajax.experiments import arithmetic, measurement
    from metajax.run import records
    from metajax.training import initial_state, train

    algorithm, _ = config.build()
    family, key = algorithm.family, jax.random.key(0)
    init, step = make_yardstick(family, config.algorithm.options)

    def plain(key, state):
        return jax.lax.scan(
            lambda state, key: step(key, state), state, jax.random.split(key, iterations)
        )

    def ours(key, state):
        return train(algorithm, key, iterations, state=state)

    programs, states, keys, compile_seconds = [], [], [], []
    peak_memory: int | None = None
    starts = (jax.jit(lambda key: initial_state(algorithm, key)), jax.jit(init))
    for run, start in zip((ours, plain), starts, strict=True):
        state = jax.block_until_ready(start(key))
        clock = time.perf_counter()
        program = jax.jit(run).lower(key, state).compile()
        compile_seconds.append(time.perf_counter() - clock)
        states.append(jax.device_put(state, program.input_shardings[0][1]))
        programs.append(program)
        keys.append(jax.device_put(key, program.input_shardings[0][0]))
        jax.block_until_ready(program(keys[-1], states[-1]))
        if peak_memory is None:  # of ours, before the yardstick needs any
            peak_memory = measurement.peak_memory()[0]
    seconds: list[list[float]] = [[], []]
    product, env_steps = measurement.MatrixProduct(), 0
    for _ in range(repeats):
        product.measure()
        for index, program in enumerate(programs):
            clock = time.perf_counter()
            _, info = jax.block_until_ready(program(keys[index], states[index]))
            seconds[index].append(time.perf_counter() - clock)
            if index == 0:
                env_steps = int(np.sum(np.asarray(info["env_steps"]), dtype=np.int64))
    spec = family.spec
    plain_steps = iterations * config.algorithm.options.num_tasks
    plain_steps *= spec.episodes_per_trial * spec.episode_length
    ours_rate, plain_rate = env_steps / np.array(seconds[0]), plain_steps / np.array(seconds[1])
    setting = measurement.resolved_setting(config, family)
    needed = arithmetic.of_setting(setting, spec)
    ceiling = float(np.median(product.rates()))
    per_iteration = float(np.median(seconds[0])) / iterations
    return {
        "env_steps_per_second": float(np.median(ours_rate)),
        "env_steps_per_second_min": float(ours_rate.min()),
        "env_steps_per_second_max": float(ours_rate.max()),
        "yardstick_env_steps_per_second": float(np.median(plain_rate)),
        "ratio": float(np.median(ours_rate / plain_rate)),
        "compile_seconds": compile_seconds[0],
        "yardstick_compile_seconds": compile_seconds[1],
        "fraction_of_matmul_ceiling": needed and needed.total / per_iteration / ceiling,
        "flops_per_iteration": needed and needed.total,
        "matmul_flops_per_second": ceiling,
        "seconds_per_iteration": per_iteration,
        "peak_memory_bytes": peak_memory,
        "iterations": iterations,
        "repeats": repeats,
        "setting": setting,
        "family_options": config.to_dict()["family"],
        "environment": records.environment(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", metavar="NAME", default="bernoulli-bandit")
    parser.add_argument("--num-tasks", metavar="N", type=int, default=256)
    parser.add_argument(
        "--set",
        metavar="SECTION.OPTION=VALUE",
        action="append",
        default=[],
        help="of the config, for example family.num-arms=50 or algorithm.hidden-size=256",
    )
    parser.add_argument("--iterations", type=int, default=8, help="of one timed call; default: 8")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each; default: 5")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--output", metavar="PATH", help="also append the record to this file")
    arguments = parser.parse_args()
    from metajax.run import config as configs

    overrides = [f"family.name={arguments.family}", "algorithm.name=rl2"]
    overrides.append(f"algorithm.num-tasks={arguments.num_tasks}")
    if arguments.family == "bernoulli-bandit":
        overrides += ["family.num-arms=10", "family.num-pulls=100"]
    try:
        config = configs.parse("", [*overrides, *arguments.set])
        cli.prepare_jax(cache=False)
        record = compare(config, arguments.iterations, arguments.repeats)
    except OptionError as error:
        parser.error(str(error))
    from metajax.run import records

    if arguments.output:
        records.append(arguments.output, record)
    if arguments.json:
        print(records.to_json(record))
    else:
        print(
            f"rl2 on {arguments.family}: {record['env_steps_per_second']:,.0f} environment steps "
            f"a second; plain recurrent PPO {record['yardstick_env_steps_per_second']:,.0f}; "
            f"ratio {record['ratio']:.2f} ({record['environment']['device']})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
