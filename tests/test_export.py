"""bin/export: everything of a run in one folder."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import gtn_tf
from gtn_tf.commands import export
from gtn_tf.commands.export import ExportConfig
from gtn_tf.data import loaders
from gtn_tf.export import cards
from gtn_tf.runs import meta_training, run_setup, workdirs


def train(folder, **changes):
    config = dataclasses.replace(problems.SMALL_RUN, workdir=str(folder), **changes)
    dataset = loaders.load("digits", None, config.seed)
    workdirs.open_workdir(folder, config)
    setup = run_setup.build(config, dataset)
    return config, dataset, meta_training.meta_train(setup, folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """With a learner whose export has all of what normalizes."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return train(folder, weight_norm=True, normalization="batch")


@pytest.fixture(scope="module")
def output(run, tmp_path_factory):
    """Everything of the run, in folders that were not there."""
    folder = tmp_path_factory.mktemp("export") / "deep" / "output"
    export.run(ExportConfig(run[0].workdir, str(folder)))
    return folder


def test_everything_is_there_and_agrees(run, output):
    config, dataset, trained = run
    assert sorted(path.name for path in output.iterdir()) == [
        "learner",
        "learner.keras",
        "synthetic.npz",
        "teacher",
        "tfds",
    ]
    teacher = gtn_tf.load_teacher(output)
    assert teacher.description["flags"] == config.fixed()
    assert teacher.description["num_outer_steps"] == 2
    shown = np.load(output / "synthetic.npz")["images"]
    batches = np.stack([x for x, _ in teacher.dataset(config.seed)])
    np.testing.assert_allclose(shown, batches, rtol=1e-4, atol=1e-5)
    assert len(tfds.load("digits_gtn", data_dir=output / "tfds", split="train")) == 20
    learner = keras.models.load_model(output / "learner.keras")
    split = dataset.validation
    accuracy = learner.evaluate(split.images, split.labels, verbose=0)[1]
    expected = trained.evaluator.score(split, 0, config.seed).accuracy
    assert accuracy == pytest.approx(expected, abs=0.006)  # one image of 200


def test_a_ready_teacher_is_half_as_large_and_has_a_card(run, tmp_path, monkeypatch):
    config, _, trained = run
    monkeypatch.setattr(cards, "card", lambda *_: "what it teaches")
    output = tmp_path / "ready"
    export.run(ExportConfig(config.workdir, str(output), ready=True))
    assert sorted(path.name for path in output.iterdir()) == ["card.md", "teacher"]
    assert (output / "card.md").read_text() == "what it teaches"
    loaded = tf.saved_model.load(str(output / "teacher"))
    stored = loaded.state[0]
    assert len(stored) == len(trained.setup.problem.teacher.variables)
    assert {variable.dtype for variable in stored} == {tf.float16}


READER = """
import sys

sys.modules["gtn_tf"] = None
import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

shown = np.load("synthetic.npz", allow_pickle=False)
builder = tfds.builder_from_directory("tfds/digits_gtn/1.0.0")
examples = tfds.as_numpy(builder.as_dataset(split="train"))
images = np.stack([example["image"] for example in examples])
assert np.array_equal(images, shown["images"].reshape(images.shape))
teacher = tf.saved_model.load("teacher").signatures
batch = teacher["batch"](step=tf.constant(1), seed=tf.constant([0, 0]))
np.testing.assert_allclose(batch["images"], shown["images"][1], rtol=1e-4, atol=1e-5)
pixels = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype("float32")
serve = tf.saved_model.load("learner").signatures["serving_default"]
logits = serve(images=tf.constant(pixels))["logits"]
learner = keras.models.load_model("learner.keras")
np.testing.assert_allclose(learner(pixels), logits, rtol=1e-3, atol=1e-4)
"""


def documented_calls():
    """Those of docs/teach.md that load a SavedModel."""
    page = pathlib.Path(__file__).parents[1] / "docs" / "teach.md"
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", page.read_text(), re.MULTILINE)
    [calls] = [textwrap.dedent(b) for b in blocks if "saved_model.load" in b]
    return calls


def test_others_read_it_without_this_library(run, output):
    """By the calls that the documents show, by the formats' own readers, and by
    TensorFlow's tool; in one process, as each would load TensorFlow anew."""
    tool = """
from tensorflow.python.tools.saved_model_cli import main
sys.argv[1:] = ["show", "--dir", "teacher", "--all"]
main()
"""
    shapes = "print(rates.shape, images.shape, targets.shape, probabilities.shape)"
    alone = 'import sys; sys.modules["gtn_tf"] = None'
    script = "\n".join([alone, documented_calls(), shapes, READER, tool])
    printed = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=output,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    first, _, shown = printed.partition("\n")
    batch = run[0].inner_batch_size
    assert first == f"(2,) ({batch}, 8, 8, 1) ({batch}, 10) (3, 10)"
    for name in ("batch", "images", "hyperparameters", "preprocess", "description"):
        assert f"signature_def['{name}']" in shown


def test_the_default_output_is_in_the_run_and_can_be_written_again(run):
    config, _, _ = run
    for _ in range(2):
        export.run(ExportConfig(config.workdir))
    output = pathlib.Path(config.workdir) / "export"
    assert gtn_tf.load_teacher(output).num_inner_steps == 2


def test_real_data_has_rates_and_a_learner_alone(tmp_path):
    train(tmp_path / "run", teacher="real")
    export.run(ExportConfig(str(tmp_path / "run")))
    names = {path.name for path in (tmp_path / "run" / "export").iterdir()}
    assert names == {"teacher", "learner", "learner.keras"}


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_checkpoint(folder, config):
    workdirs.open_workdir(folder / "run", config)
    return {"workdir": str(folder / "run")}


def full_output(folder, config):
    (folder / "out").mkdir()
    (folder / "out" / "letter").write_text("dear")
    return {"workdir": config.workdir, "output": str(folder / "out")}


def file_as_output(folder, config):
    (folder / "out").write_text("dear")
    return {"workdir": config.workdir, "output": str(folder / "out")}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda *_: {}, "--workdir is not given"),
        (lambda folder, _: {"workdir": str(folder)}, "holds no run of this program"),
        (without_checkpoint, "holds no checkpoint of an outer step"),
        (full_output, "is not empty and holds no earlier export"),
        (file_as_output, "is a file: give a folder"),
    ],
)
def test_bad_input_writes_nothing(run, tmp_path, make, message):
    config, _, _ = run
    values = make(tmp_path, config)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=message):
        export.run(ExportConfig(**values))
    assert contents(tmp_path) == before
