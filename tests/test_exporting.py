"""Policies that leave the package act as inside of it."""

import io
import json
import pathlib
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax
from metajax.data.rollout import actor_inputs, rollout

KINDS = {
    "rl2": ("point-navigation", {"hidden_size": 4}),
    "maml": ("gridnavi", {"hidden_sizes": (4,)}),
    "reptile-dqn": ("cartpole", {"hidden_sizes": (4,)}),
}


@pytest.fixture(
    scope="module",
    params=["rl2", "maml", pytest.param("reptile-dqn", marks=pytest.mark.further)],
)
def adapted(request):
    """An algorithm, its theta and a state in a task, and what a rollout of its mode saw and did."""
    family, options = KINDS[request.param]
    family = metajax.tasks.make(family)
    algorithm = metajax.make(request.param, family, **options)
    theta = algorithm.deploy(algorithm.init(jax.random.key(0)))
    phi = algorithm.learner.begin(jax.random.key(1), theta)
    phi = jax.tree.map(lambda leaf: leaf + 0.1 if leaf.dtype == jnp.float32 else leaf, phi)
    task, actor = family.sample(jax.random.key(2)), algorithm.learner.actor
    run = jax.jit(rollout, static_argnums=(0, 1, 6, 7), static_argnames=("num_episodes", "explore"))
    inputs = family, actor, jax.random.key(3), theta, phi, task
    chunk = run(*inputs, 2, 6, num_episodes=2, explore=False)
    assert chunk.mask.all()
    return algorithm, theta, phi, actor_inputs(family.spec, chunk), np.asarray(chunk.action)


def _replayed(policy, seen, key):
    """The actions of a policy that is shown ``seen``, leaves ``[T, ...]``."""
    carry, actions = policy.init(), []
    for time in range(len(seen.start)):
        now = jax.tree.map(lambda leaf, time=time: leaf[time], seen)
        action, carry = policy.step(key, now.observation, now.last_reward, now.start, carry)
        actions.append(np.asarray(action))
    return np.array(actions)


def test_a_policy_and_its_file_act_as_the_algorithm_does(adapted, tmp_path):
    algorithm, theta, phi, seen, actions = adapted
    policy = metajax.policy(algorithm, theta, phi, explore=False)
    policy.save(tmp_path / "policy.zip")
    loaded = metajax.load_policy(tmp_path / "policy.zip")
    assert loaded.about == policy.about
    bounds = policy.about["action"]
    if "low" in bounds:
        actions = np.clip(actions, bounds["low"], bounds["high"])
    first = jax.tree.map(lambda leaf: leaf[:, 0], seen)
    for one in (policy, loaded):
        found = _replayed(one, first, jax.random.key(0))
        np.testing.assert_allclose(found, actions[:, 0], atol=1e-6)


def test_samples_of_streams_side_by_side(adapted, tmp_path):
    algorithm, theta, phi, seen, _ = adapted
    policy = metajax.policy(algorithm, theta, phi, num_streams=2)
    policy.save(tmp_path / "policy.zip")
    found = _replayed(policy, seen, jax.random.key(5))
    again = _replayed(metajax.load_policy(tmp_path / "policy.zip"), seen, jax.random.key(5))
    np.testing.assert_allclose(again, found, atol=1e-6)
    assert found.shape[:2] == (6, 2)
    assert (found != _replayed(policy, seen, jax.random.key(6))).any()


@pytest.fixture(scope="module")
def file():
    """A policy to write to a file."""
    family = metajax.tasks.make("bernoulli-bandit", num_arms=3, num_pulls=4)
    algorithm = metajax.make("rl2", family, hidden_size=2)
    return metajax.policy(algorithm, algorithm.init(jax.random.key(0)), explore=False)


def _documented(path):
    """The blocks of the page that read a policy's file, with ``path`` for it."""
    page = pathlib.Path(__file__).parents[1] / "docs" / "tutorials" / "export.md"
    blocks = re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.M
    )
    return [
        re.sub(r'"runs/.*?/policy.zip"', repr(str(path)), one)
        for one in blocks
        if "policy.zip" in one
    ]


@pytest.mark.further
def test_the_documented_loops(tmp_path):
    pytest.importorskip("gymnasium")
    algorithm = metajax.make("rl2", metajax.tasks.make("cartpole"), hidden_size=2)
    metajax.policy(algorithm, algorithm.init(jax.random.key(0))).save(tmp_path / "policy.zip")
    in_gymnasium, by_jax = _documented(tmp_path / "policy.zip")
    found: dict = {}
    exec(in_gymnasium.replace("range(1000)", "range(50)"), found)
    assert found["observation"].shape == (4,)
    exec(by_jax, found)
    assert {"cpu", "cuda", "tpu"} <= {*found["step"].platforms}
    one = metajax.load_policy(tmp_path / "policy.zip")
    again, _ = one.step(jax.random.key(0), jnp.zeros(4), 0.0, True, one.init())
    assert found["action"] == again


def _rewritten(data, **parts):
    """A policy's file with other contents of some parts; None leaves one out."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            content = parts.get(name.partition(".")[0], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return written.getvalue()


def test_damaged_files_are_refused(file, tmp_path):
    path = tmp_path / "policy.zip"
    file.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        manifest = json.loads(opened.read("manifest.json"))
    damaged = {
        "is damaged, or no policy": [
            b"",
            b"no zip file",
            whole[: len(whole) // 2],
            _rewritten(whole, step=None),
            _rewritten(whole, manifest=b"[1]"),
            _rewritten(whole, manifest=b"[" * 10**5),
            _rewritten(whole, manifest=b"\xff"),
        ],
        "another digest": [_rewritten(whole, init=b"x")],
        "allowed: 1": [_rewritten(whole, manifest=json.dumps({**manifest, "format": 2}))],
    }
    for words, contents in damaged.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(metajax.OptionError, match=words):
                metajax.load_policy(path)
    with pytest.raises(metajax.OptionError, match="cannot be read"):
        metajax.load_policy(tmp_path / "none.zip")


def test_mistakes_are_named(file, tmp_path):
    classifier = metajax.make("prototypical", metajax.tasks.make("gaussian-blobs"))
    with pytest.raises(metajax.OptionError, match="has no actor"):
        metajax.policy(classifier, classifier.init(jax.random.key(0)))
    other = metajax.make("rl2", metajax.tasks.make("cartpole"), hidden_size=2)
    state = other.init(jax.random.key(0))
    with pytest.raises(metajax.OptionError, match="theta: belongs to something else"):
        metajax.policy(other, state.theta["heads"])
    with pytest.raises(metajax.OptionError, match="phi: belongs to something else"):
        metajax.policy(other, state, phi=state)
    file.save(tmp_path / "policy.zip")
    for policy in (file, metajax.load_policy(tmp_path / "policy.zip")):
        with pytest.raises(metajax.OptionError, match=r"observation: has the shape \(2,\)"):
            policy.step(jax.random.key(0), jnp.zeros(2), 0.0, True, policy.init())
