"""Policies: environments, returns and their gradient, whole runs, what is refused."""

import base64
import dataclasses
import json

import gymnasium
import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
from PIL import Image

import gtn_tf
from gtn_tf.commands import evaluate, export, train
from gtn_tf.commands.configs import EvaluationConfig, ExportConfig
from gtn_tf.data import environments
from gtn_tf.data.environments import MEASURING, TRAINING
from gtn_tf.meta import rollouts
from gtn_tf.meta.actor_critic import DISCOUNT
from gtn_tf.meta.registry import OBJECTIVES
from gtn_tf.meta.rollouts import Rollout
from gtn_tf.runs import checkpoints, meta_training, run_setup
from nas.commands import report
from nas.commands.report_config import ReportConfig

SMALL = problems.SMALL_POLICIES


@pytest.fixture(scope="module")
def cartpole():
    return environments.load("gym:CartPole-v1", 30)


@pytest.fixture(scope="module")
def objective(cartpole):
    return OBJECTIVES["actor_critic"].of_run(SMALL, cartpole)


def states_of(environment, seeds, actions, stream=TRAINING):
    """States [L + 1, N, S] of environments that get actions [L, N]."""
    handle, states = environment.reset(stream, np.array(seeds))
    found = [states]
    for own in actions:
        found.append(environment.step(handle, own).state)
    environment.release(handle)
    return np.array(found)


def test_what_happens_depends_on_seeds_and_actions_alone(cartpole):
    actions = np.random.default_rng(0).integers(0, 2, [60, 2])
    first = states_of(cartpole, [3, 4], actions)
    states_of(cartpole, [7, 8], 1 - actions)
    np.testing.assert_array_equal(states_of(cartpole, [3, 4], actions), first)
    np.testing.assert_array_equal(
        states_of(cartpole, [4], actions[:, 1:])[:, 0], first[:, 1]
    )
    assert not np.any(states_of(cartpole, [3, 4], actions, MEASURING)[0] == first[0])


def test_no_episode_of_the_test_is_one_of_validation(cartpole):
    seeds = [*cartpole.validation.seeds, *cartpole.test.seeds]
    assert len(set(seeds)) == len(seeds) == 20 + 50


def test_a_frame_is_that_of_gymnasium(cartpole):
    """Over an end by falling and one by the limit, with what follows them."""
    handle, states = cartpole.reset(TRAINING, np.array([5]))
    own = gymnasium.make("CartPole-v1", max_episode_steps=30)
    own.reset()
    own.unwrapped.state = states[0].astype(np.float64)
    ends = set()
    for frame in range(100):
        state, velocity = states[0][2:]
        action = int(state + velocity > 0) if frame > 40 else 1
        shown = cartpole.step(handle, np.array([action]))
        expected, reward, terminated, truncated, _ = own.step(action)
        np.testing.assert_allclose(shown.successor[0], expected, atol=1e-5)
        assert (shown.reward[0], shown.terminated[0]) == (reward, terminated)
        assert shown.truncated[0] == (truncated and not terminated)
        if terminated or truncated:
            ends.add("terminated" if terminated else "truncated")
            assert np.all(np.abs(shown.state) <= 0.05)  # the first of an episode
            own.reset()
            own.unwrapped.state = shown.state[0].astype(np.float64)
        else:
            np.testing.assert_array_equal(shown.state, shown.successor)
        states = shown.state
    cartpole.release(handle)
    assert ends == {"terminated", "truncated"}


def test_bounded_states_go_to_one(cartpole):
    assert cartpole.image_shape == (4,)
    np.testing.assert_array_equal(cartpole.mean, 0)
    np.testing.assert_allclose(cartpole.std, [4.8, 1, 0.41887903, 1], rtol=1e-6)


def test_a_rollout_has_what_the_policy_did(cartpole):
    def act(states, noise):
        return tf.cast(states[:, 2] + noise > 0, tf.int32)

    noise = tf.constant(np.linspace(-0.1, 0.1, 40), tf.float32)
    seeds = tf.constant([1, 2, 3])
    found = rollouts.roll_out(cartpole, act, TRAINING, seeds, noise)
    actions = found.actions.numpy()
    expected = states_of(cartpole, [1, 2, 3], actions)
    np.testing.assert_array_equal(found.states, expected[:-1])
    np.testing.assert_array_equal(
        actions, (found.states[:, :, 2] + noise[:, None] > 0).numpy()
    )
    assert set(actions.ravel()) == {0, 1}
    assert cartpole._running == {}


def returns_by_hand(rewards, terminated, truncated, reached):
    """One environment's R, times 1 - discount, frame by frame from each."""
    found = []
    for start in range(len(rewards)):
        total, factor = 0.0, 1.0
        for t in range(start, len(rewards)):
            total += factor * (1 - DISCOUNT) * rewards[t]
            factor *= DISCOUNT
            if terminated[t]:
                break
            if truncated[t] or t == len(rewards) - 1:
                total += factor * reached[t]
                break
        found.append(total)
    return found


def test_returns_end_with_the_episode_or_in_a_value(objective):
    random = np.random.default_rng(1)
    successors = random.normal(size=[6, 2, 4]).astype(np.float32)
    rewards = random.normal(size=[6, 2]).astype(np.float32)
    terminated = np.array([[0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 1]], bool).T
    truncated = np.array([[0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]], bool).T
    rollout = Rollout(successors, None, successors, rewards, terminated, truncated)
    rollout = rollout._replace(
        successors=tf.constant(successors),
        rewards=tf.constant(rewards),
        terminated=tf.constant(terminated),
        truncated=tf.constant(truncated),
    )
    reached = objective._values(tf.reshape(successors, [-1, 4])).numpy().reshape(6, 2)
    expected = np.transpose(
        [
            returns_by_hand(rewards[:, n], terminated[:, n], truncated[:, n], own)
            for n, own in enumerate(reached.T)
        ]
    )
    found = objective._returns(rollout).numpy().reshape(6, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_gradient_is_that_of_a_policy_whose_actions_stay(objective):
    """The loss is differentiated with what was done as it is."""
    batch = tf.nest.map_structure(lambda v: v[0], objective.sample(1, [1, 2]))
    direction = tf.random.stateless_normal([4, 2], [3, 4])
    start = 0.1 * tf.random.stateless_normal([4, 2], [5, 6])

    def loss(size):
        weights = start + size * direction
        return objective.loss(lambda x: x @ weights, batch)

    size = tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(size)
        value = loss(size)
    gradient = tape.gradient(value, size)
    change = 1e-2
    difference = (loss(change) - loss(-change)) / (2 * change)
    np.testing.assert_allclose(gradient, difference, rtol=0.02)


def test_a_full_score_is_the_most_frames(objective, cartpole):
    def balanced(x):
        return tf.stack([tf.zeros_like(x[:, 0]), 5 * x[:, 2] + x[:, 3]], 1)

    (example,) = objective.examples(cartpole.test)
    best = objective.measure(balanced, example)
    worst = objective.measure(lambda x: -balanced(x), example)
    np.testing.assert_array_equal(best, [50, 50 * 30, -50 * 30])
    assert 8 * 50 <= worst[1] < 12 * 50


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies") / "run"
    config = dataclasses.replace(
        SMALL, workdir=str(folder), num_outer_steps=3, compare_with_real=True
    )
    return folder, train.run(config)


def test_a_run_leaves_results_and_an_episode(finished):
    folder, results = finished
    found = json.loads((folder / "results.json").read_text())
    assert found == results
    own = found["teacher"]["test_return"]
    assert 8 <= own["low"] <= own["mean"] <= own["high"] <= 30
    assert list(found["teacher"]["kinds"]) == ["policy"]
    assert found["a2c"]["frames"] == 3 * 60
    assert found["a2c"]["curve"][-1][0] == 3 * 60
    assert 8 <= found["a2c"]["test_return"] <= 30
    with Image.open(folder / "episode.gif") as image:
        assert image.format == "GIF" and image.width == 300
        assert 5 <= image.n_frames <= 17
    events = b"".join(path.read_bytes() for path in folder.glob("events.*"))
    assert b"GIF89a" in events
    assert b"few_step_return/validation" in events
    assert b"few_step_return/test" in events


def test_a_users_policy_is_taught(finished):
    folder, _ = finished
    teacher = gtn_tf.load_teacher(folder)
    x, targets = teacher.batch(0)
    assert x.shape == (16, 4) and targets.shape == (16, 2)
    np.testing.assert_allclose(
        teacher.preprocess([[2.4, 1, 0.2, -1]]), [[0.5, 1, 0.4774648, -1]], rtol=1e-5
    )
    model = keras.Sequential(
        [keras.Input([4]), keras.layers.Dense(7, "relu"), keras.layers.Dense(2)]
    )

    def error():
        return float(tf.reduce_mean(tf.square(model(x) - targets)))

    before = error()
    teacher.teach(model)
    assert error() < before


def test_states_and_targets_are_exported(finished, tmp_path):
    folder, _ = finished
    export.run(ExportConfig(workdir=str(folder), output=str(tmp_path)))
    x, targets = gtn_tf.load_teacher(folder).batch(0)
    with np.load(tmp_path / "synthetic.npz") as found:
        np.testing.assert_allclose(found["images"], x[None], atol=1e-5)
        np.testing.assert_allclose(found["targets"], targets[None], atol=1e-5)
    policy = keras.models.load_model(tmp_path / "learner.keras")
    served = tf.saved_model.load(str(tmp_path / "learner")).signatures
    states = tf.constant([[0.1, -0.2, 0.03, 0.4]])
    np.testing.assert_allclose(
        policy(states),
        served["serving_default"](images=states)["logits"],
        atol=1e-5,
    )


def test_evaluation_is_of_returns(finished, tmp_path, capsys):
    folder, _ = finished
    config = EvaluationConfig(
        workdir=str(folder), output=str(tmp_path), measures="inner_steps"
    )
    config = dataclasses.replace(config, num_test_learners=2)
    evaluate.run(config)
    table = capsys.readouterr().out
    assert "| inner steps | state_actions |" in table and "%" not in table
    with pytest.raises(ValueError, match="stock_models.*give inner_steps, archi"):
        evaluate.run(dataclasses.replace(config, measures="stock_models"))


def test_the_report_shows_returns_and_the_episode(finished, tmp_path):
    folder, results = finished
    path = report.run(ReportConfig(folders=str(folder), output=str(tmp_path)))
    page, text = path.read_text(), (tmp_path / "report.md").read_text()
    mean = results["teacher"]["test_return"]["mean"]
    assert f"| run | policy | {mean:.1f} |" in text
    assert f"reach a return of {mean:.1f} in CartPole-v1" in page
    assert '"source": "A2C"' in page and '"source": "real data"' not in page
    gif = (folder / "episode.gif").read_bytes()
    assert base64.b64encode(gif).decode() in page
    assert (tmp_path / "run_0_episode.gif").read_bytes() == gif


class Killed(BaseException):
    """Nothing that is caught on the way."""


def test_a_killed_run_ends_bit_for_bit_the_same(finished, tmp_path, monkeypatch):
    folder, _ = finished
    config = dataclasses.replace(
        SMALL, workdir=str(tmp_path), num_outer_steps=3, checkpoint_every_seconds=0
    )
    save = meta_training._Run.save

    def save_and_die(self, progress):
        save(self, progress)
        if progress.outer_step == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(meta_training._Run, "save", save_and_die)
        with pytest.raises(Killed):
            meta_training.meta_train(run_setup.prepare(config), tmp_path)
    meta_training.meta_train(run_setup.prepare(config), tmp_path)
    rows, expected = (
        [line.split(",")[2:] for line in (path / "metrics.csv").open()]
        for path in (tmp_path, folder)
    )
    assert len(rows) == 1 + 3 and rows == expected
    found, wanted = (
        checkpoints.Checkpoints(path / "checkpoints").restore()[1]
        for path in (tmp_path, folder)
    )
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)


REFUSED = {
    "dataset": [
        ("gym:", "--dataset=gym: names no environment"),
        ("digits", "--objective=actor_critic contradicts --dataset=digits"),
    ],
    "objective": [("classification", "--objective=classification contradicts")],
    "teacher": [("real", "--teacher=real contradicts --dataset=gym:CartPole-v1")],
    "warm_start_steps": [(5, "--warm_start_steps=5 contradicts")],
    "leave_out": [("transformer", "--leave_out=transformer contradicts")],
    "image_size": [("32", "--image_size=32 contradicts")],
    "augment": [("always", "--augment=always contradicts")],
    "adversarial_weight": [(0.5, "--adversarial_weight=0.5 contradicts")],
    "estimator": [(name, "--estimator=" + name) for name in ("es", "pes", "combined")],
    "outer_batch_size": [
        (29, "--outer_batch_size=29 is no number of whole episodes"),
        (70, "give a multiple, as in 30 or 120"),
    ],
}


@pytest.mark.parametrize(
    "name, value, message",
    [(name, *case) for name, cases in REFUSED.items() for case in cases],
)
def test_flags_that_contradict_an_environment(name, value, message):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(SMALL, **{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name, message",
    [
        ("gym:Nowhere-v0", "cannot be made .*`Nowhere`.*: give an environment"),
        ("gym:Pendulum-v1", r"has actions Box.*discrete actions, as gym:CartPole-v1"),
        ("gym:FrozenLake-v1", r"has states Discrete\(16\): policies see a vector"),
    ],
)
def test_environments_that_cannot_be_used(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        run_setup.prepare(dataclasses.replace(SMALL, dataset=name))
    assert "\n" not in str(caught.value)


def test_generated_targets_are_of_vectors_and_regression(tmp_path):
    for changes in ({"dataset": "digits", "objective": "classification"}, {}):
        config = dataclasses.replace(SMALL, **changes, inner_loss="cross_entropy")
        with pytest.raises(ValueError, match="--teacher=state_actions contradicts"):
            run_setup.prepare(config)


def test_image_networks_are_refused_for_vectors():
    config = dataclasses.replace(SMALL, learner="residual:4-4")
    with pytest.raises(ValueError, match="residual.*takes images"):
        run_setup.prepare(config)
