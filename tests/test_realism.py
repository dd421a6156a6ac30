"""What is measured of a teacher's images, and what bin/evaluate makes of it."""

import csv
import dataclasses

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.commands import evaluate
from gtn_tf.commands.evaluate import EvaluationConfig
from gtn_tf.data import loaders
from gtn_tf.evaluation import real_classifier, realism, realism_report
from gtn_tf.evaluation.real_classifier import RealClassifier
from gtn_tf.runs import meta_training, run_setup, workdirs


@pytest.fixture(scope="module")
def digits():
    return loaders.load("digits", None, 0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(real_classifier, "_NUM_STEPS", 3)
    monkeypatch.setattr(realism, "_FLIP_STEPS", 3)


def test_the_distance_to_a_linear_boundary():
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    model.set_weights([weights, np.float32([0.1, -0.2, 0.3])])
    x = np.random.default_rng(1).normal(size=(300, 2, 2, 1)).astype(np.float32)
    found = realism.boundary_distance(RealClassifier(model), x)
    logits = x.reshape(-1, 4) @ weights + [0.1, -0.2, 0.3]
    first, second = np.argsort(-logits, -1)[:, :2].T
    rows = np.arange(300)
    margin = logits[rows, first] - logits[rows, second]
    normal = np.linalg.norm(weights[:, first] - weights[:, second], axis=0)
    np.testing.assert_allclose(found, margin / normal, rtol=1e-4)


def test_the_nearest_image():
    random = np.random.default_rng(0)
    x, others = random.normal(size=(300, 2, 2, 1)), random.normal(size=(40, 2, 2, 1))
    difference = x[:, None] - others[None]
    expected = np.sqrt((difference**2).sum((2, 3, 4))).min(1)
    np.testing.assert_allclose(realism.nearest_distance(x, others), expected)
    np.testing.assert_allclose(realism.nearest_distance(others, others), 0, atol=1e-7)


def test_high_frequencies():
    columns = np.arange(8)
    slow = np.tile(np.cos(2 * np.pi * columns / 8), (8, 1))
    fast = np.tile(np.cos(2 * np.pi * 3 * columns / 8), (8, 1))
    x = np.stack([slow, fast, 5 + slow + fast, 0 * slow + 2])[..., None]
    np.testing.assert_allclose(realism.high_frequency(x), [0, 1, 0.5, 0], atol=1e-9)


def test_class_means_and_classes_without_images():
    x = np.arange(12.0).reshape(3, 2, 2, 1)
    means = realism.class_means(x, np.array([1, 1, 0]), 3)
    np.testing.assert_array_equal(means[1], x[:2].mean(0))
    np.testing.assert_array_equal(means[0], x[2])
    assert np.isnan(means[2]).all()


def test_flips_are_counted_from_step_to_step(digits, monkeypatch):
    answers = [[0, 1, 2], [0, 2, 2], [0, 1, 2], [0, 1, 0]]

    class Classifier:
        def look(self, x):
            return np.eye(3)[answers.pop(0)], None

    def train(dataset, seed, num_steps, on_step):
        for _ in range(4):
            on_step(Classifier())

    monkeypatch.setattr(real_classifier, "train", train)
    flips = realism.count_flips(np.zeros((3, 8, 8, 1)), digits, 0)
    np.testing.assert_array_equal(flips, [0, 2, 1])


def test_the_table_has_the_thirds_and_the_trend():
    values = np.repeat([[1.0], [1], [2], [2], [4], [6]], 2, axis=1)
    by_step = {name: values for name in realism.MEASURED}
    real = {name: np.array([7.0, 9]) for name in realism.MEASURED}
    row = realism_report.format_table(by_step, real).splitlines()[2]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == ["recognized", "1", "2", "5", "6", "8", "+0.97"]


def check_files(folder, num_images):
    for name in ("class_means", "all_images", "images_by_flips", "curriculum"):
        assert tf.io.decode_png((folder / f"{name}.png").read_bytes()).shape[0] > 20
    with (folder / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == num_images
    assert set(realism.MEASURED) < rows[0].keys()
    return rows


def test_a_run_is_looked_at(quick, tmp_path, capsys):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(tmp_path))
    workdirs.open_workdir(tmp_path, config)
    setup = run_setup.build(config, run_setup.load_dataset(config))
    meta_training.meta_train(setup, tmp_path)
    evaluate.run(EvaluationConfig(str(tmp_path), measures="realism"))
    folder = tmp_path / "evaluation"
    rows = check_files(folder / "realism", 20)
    assert [row["label"] for row in rows] == [str(i % 10) for i in range(20)]
    assert [row["inner_step"] for row in rows] == ["1"] * 10 + ["2"] * 10
    assert (folder / "realism" / "table.md").read_text() in capsys.readouterr().out
    assert not (folder / "evaluation.csv").exists()
    steps = evaluate.next_steps(EvaluationConfig(str(tmp_path), measures="realism"))
    assert steps[1] == f"bin/export --workdir={tmp_path}"


def test_a_ready_teacher_is_looked_at(quick, tmp_path):
    config = EvaluationConfig("digits", measures="realism", output=str(tmp_path))
    evaluate.run(config)
    check_files(tmp_path / "realism", 320)
    assert evaluate.next_steps(config) == [f"look at the figures in {tmp_path}"]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"output": ""}, "no folder of a run to write to: give --output=FOLDER"),
        ({"measures": "realism,ensembles"}, "is no run but an exported teacher"),
        ({"workdir": "nothing"}, "nothing is no folder: give the folder of a finished"),
    ],
)
def test_what_cannot_be_looked_at(changes, expected, tmp_path):
    values = {"workdir": "digits", "measures": "realism", "output": f"{tmp_path}/new"}
    with pytest.raises(ValueError, match=expected):
        evaluate.run(EvaluationConfig(**values | changes))
    assert not list(tmp_path.iterdir())
