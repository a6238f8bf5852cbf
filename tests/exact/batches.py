"""Trials of classical methods alone and in a batch."""

import jax


def alone_and_in_batch(algorithm, key):
    """The query chunk of one task by itself, and of the same task among three, on the host."""

    def trial(key):
        return algorithm.adapt(key, (), algorithm.family.sample(key)).query

    @jax.jit
    def run(keys):
        return trial(keys[1]), jax.vmap(trial)(keys)

    alone, batch = jax.device_get(run(jax.random.split(key, 3)))
    return alone, jax.tree.map(lambda leaf: leaf[1], batch)
