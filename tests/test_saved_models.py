"""Exports load where this library cannot be imported, and say the same there."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import problems
import pytest
import tensorflow as tf

from gtn_tf.data.dataset import Dataset, Split, normalize
from gtn_tf.export import saved_models
from gtn_tf.networks import generators, learners, stateless
from gtn_tf.teachers.gtn import GTN

SEED = tf.constant([3, 4])
TEACHERS = {
    "gtn": dict(teacher="gtn"),
    "gtn-none": dict(teacher="gtn", curriculum="none", per_step=False),
    "gtn-generated": dict(teacher="gtn", labels="generated"),
    "gtn-learned": dict(teacher="gtn", labels="learned"),
    "distillation": dict(curriculum="shuffled_batch", optimizer="adam"),
    "real": dict(teacher="real"),
}
T, B, K, Z = 3, problems.BATCH_SIZE, problems.NUM_CLASSES, problems.LATENT_SIZE
IMAGES = [B, *problems.IMAGE_SHAPE]
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 2), np.uint8)

# Loads every SavedModel of a folder, calls every signature with the inputs of that
# name, and writes down what came out.
CHILD = """
import json
import pathlib
import sys

sys.modules["gtn_tf"] = None
import numpy as np
import tensorflow as tf

folder = pathlib.Path(sys.argv[1])
inputs = np.load(folder / "inputs.npz")
outputs, signatures = {}, {}
for path in sorted(path for path in folder.iterdir() if path.is_dir()):
    loaded = tf.saved_model.load(str(path))
    for name, function in loaded.signatures.items():
        key = f"{path.name} {name}"
        specs = function.structured_input_signature[1]
        results = function(
            **{spec: tf.constant(inputs[f"{key} {spec}"]) for spec in specs}
        )
        signatures[key] = [
            {n: [spec.shape.as_list(), spec.dtype.name] for n, spec in part.items()}
            for part in (specs, function.structured_outputs)
        ]
        for n, value in results.items():
            is_text = value.dtype == tf.string
            outputs[f"{key} {n}"] = np.array(value, "S" if is_text else None)
np.savez(folder / "outputs.npz", **outputs)
try:
    import gtn_tf
except ImportError:
    (folder / "signatures.json").write_text(json.dumps(signatures))
"""


def build_dataset() -> Dataset:
    """Two channels with their own mean and deviation; only the shapes are used."""
    split = Split(np.zeros((1, 4, 4, 2), np.uint8), np.zeros(1, np.int32))
    return Dataset(
        name="small",
        train=split,
        validation=split,
        test=split,
        class_names=("cat", "dog", "größer"),
        mean=np.array([100, 20], np.float32),
        std=np.array([50, 4], np.float32),
        augment=False,
    )


def build_learner():
    """A learner with parameters and batch statistics that are not the initial ones."""
    dataset = build_dataset()
    spec = learners.LearnerSpec(
        "digits", (3, 4, 5), dataset.image_shape, dataset.num_classes
    )
    learner = stateless.StatelessModel(learners.build_model(spec))
    params, statistics = learner.init(SEED)
    statistics += tf.random.stateless_uniform(statistics.shape, SEED)
    return learner, params, statistics


class Loaded:
    """What another process made of the exports, beside what was computed here."""

    def __init__(self, folder):
        self.inputs, self.expected, self.signatures = {}, {}, {}
        for name, options in TEACHERS.items():
            self._export_teacher(folder, name, options)
        self._export_learner(folder)
        np.savez(folder / "inputs.npz", **self.inputs)
        subprocess.run(
            [sys.executable, "-I", "-c", CHILD, str(folder)],
            cwd=folder,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=True,
        )
        self.outputs = dict(np.load(folder / "outputs.npz"))
        self.found = json.loads((folder / "signatures.json").read_text())

    def _call(self, key, inputs, outputs, shapes):
        self.inputs |= {f"{key} {name}": value for name, value in inputs.items()}
        self.expected |= {f"{key} {name}": value for name, value in outputs.items()}
        self.signatures[key] = shapes

    def _export_teacher(self, folder, name, options):
        case = problems.build_case(precision="float32", num_steps=T, **options)
        teacher, hyperparameters = case.problem.teacher, case.problem.hyperparameters
        for variable in case.problem.variables:  # as if trained
            variable.assign(variable + 0.1 * tf.math.sin(3.0 + variable))
        provenance = {"flags": {"teacher": name}, "num_outer_steps": 3}
        saved_models.export_teacher(
            folder / name, case.problem, build_dataset(), provenance
        )

        values = hyperparameters.values()
        shapes = [{}, {key: [[T], "float32"] for key in values}]
        self._call(f"{name} hyperparameters", {}, values, shapes)
        self._call_data_set(name)
        if name == "real":
            return
        images, targets = teacher.batch(2, SEED)
        self._call(
            f"{name} batch",
            {"step": np.int32(2), "seed": SEED},
            {"images": images, "targets": targets},
            [
                {"step": [[], "int32"], "seed": [[2], "int32"]},
                {"images": [IMAGES, "float32"], "targets": [[B, K], "float32"]},
            ],
        )
        if name.startswith("gtn"):
            self._call_generator(name, teacher)

    def _call_data_set(self, name):
        """What is said of the data set, which is that of the learner."""
        pixels = PIXELS.astype(np.float32)
        self._call(
            f"{name} preprocess",
            {"images": pixels},
            {"images": (pixels - np.float32([100, 20])) / np.float32([50, 4])},
            [
                {"images": [[None, 4, 4, 2], "float32"]},
                {"images": [[None, 4, 4, 2], "float32"]},
            ],
        )
        description = {
            "dataset": "small",
            "data_digest": build_dataset().digest,
            "class_names": ["cat", "dog", "größer"],
            "mean": [100, 20],
            "std": [50, 4],
            "image_shape": list(problems.IMAGE_SHAPE),
            "num_inner_steps": T,
            "inner_batch_size": B,
            "flags": {"teacher": name},
            "num_outer_steps": 3,
        }
        shapes = [{}, {"description": [[], "string"]}]
        self._call(f"{name} description", {}, {"description": description}, shapes)

    def _call_generator(self, name, teacher):
        latents = tf.random.stateless_normal([5, Z], SEED)
        given, made = {"latents": latents}, {}
        statistics = teacher.statistics(tf.constant([0, 0]))
        targets = tf.nn.softmax(tf.random.stateless_normal([5, K], SEED + 1))
        own = {"targets": [[None, K], "float32"]}
        if teacher.spec.labels == "generated":
            images, labels = teacher.generate(teacher.weights(), statistics, latents)
            made = {"targets": labels}
        else:
            given["targets"] = targets
            images, _ = teacher.generate(
                teacher.weights(), statistics, latents, targets
            )
        self._call(
            f"{name} images",
            given,
            {"images": images} | made,
            [
                {"latents": [[None, Z], "float32"]} | (own if not made else {}),
                {"images": [[None, *problems.IMAGE_SHAPE], "float32"]}
                | (own if made else {}),
            ],
        )

    def _export_learner(self, folder):
        dataset = build_dataset()
        learner, params, statistics = build_learner()
        model = learner.assign(params, statistics)
        saved_models.export_learner(folder / "learner", model, dataset)
        x = (PIXELS - np.float32([100, 20])) / np.float32([50, 4])
        logits, _ = learner.apply(params, statistics, x, training=False)
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        self._call(
            "learner serving_default",
            {"images": PIXELS.astype(np.float32)},
            {"logits": logits, "probabilities": probabilities},
            [
                {"images": [[None, 4, 4, 2], "float32"]},
                {
                    "logits": [[None, K], "float32"],
                    "probabilities": [[None, K], "float32"],
                },
            ],
        )
        names = [name.encode() for name in dataset.class_names]
        shapes = [{}, {"class_names": [[K], "string"]}]
        self._call("learner class_names", {}, {"class_names": names}, shapes)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return Loaded(tmp_path_factory.mktemp("exports"))


def test_signatures_have_their_names_and_shapes(loaded):
    always = ("hyperparameters", "preprocess", "description")
    assert set(loaded.found) == {
        *(f"gtn {name}" for name in (*always, "batch", "images")),
        *(f"gtn-none {name}" for name in (*always, "batch", "images")),
        *(f"gtn-generated {name}" for name in (*always, "batch", "images")),
        *(f"gtn-learned {name}" for name in (*always, "batch", "images")),
        *(f"distillation {name}" for name in (*always, "batch")),
        *(f"real {name}" for name in always),
        "learner serving_default",
        "learner class_names",
    }
    assert loaded.found == loaded.signatures


def test_values_agree_with_this_process(loaded):
    assert loaded.outputs.keys() == loaded.expected.keys()
    for key, expected in loaded.expected.items():
        if key.endswith("class_names"):
            assert list(loaded.outputs[key]) == expected
            continue
        if key.endswith("description description"):
            assert json.loads(loaded.outputs[key].item()) == expected
            continue
        np.testing.assert_allclose(
            loaded.outputs[key], expected, rtol=1e-4, atol=1e-5, err_msg=key
        )


def test_values_are_worth_comparing(loaded):
    """They differ from image to image, and between teachers."""
    for key, value in loaded.outputs.items():
        if key.endswith(("images", "logits")):
            assert np.ptp(value, axis=0).max() > 0.01, key
    first, second = (
        loaded.outputs[f"{name} batch images"] for name in ("gtn", "gtn-none")
    )
    assert np.abs(first - second).max() > 0.01
    names = {name for name in loaded.expected if name.startswith("distillation hyper")}
    parameters = ("learning_rate", "momentum", "beta_2")
    assert names == {f"distillation hyperparameters {name}" for name in parameters}


def folder_size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["gtn", "gtn-none", "distillation"])
def test_half_a_teacher_is_half_as_large_and_shows_the_same(tmp_path, name):
    case = problems.build_case(precision="float32", num_steps=T, **TEACHERS[name])
    for variable in case.problem.variables:  # as if trained
        variable.assign(variable + 0.1 * tf.math.sin(3.0 + variable))
    whole, half = tmp_path / "whole", tmp_path / "half"
    saved_models.export_teacher(whole, case.problem, build_dataset(), {})
    saved_models.export_teacher(half, case.problem, build_dataset(), {}, half=True)
    loaded = [tf.saved_model.load(str(folder)).signatures for folder in (whole, half)]
    x, close = (s["batch"](step=tf.constant(1), seed=SEED)["images"] for s in loaded)
    assert close.dtype == tf.float32 and 0 < np.abs(x - close).max() < 0.01
    rates, same = (s["hyperparameters"]() for s in loaded)
    for key, value in rates.items():
        np.testing.assert_array_equal(value, same[key])
    if name == "distillation":
        return
    latents = tf.random.stateless_normal([5, Z], SEED)
    targets = tf.one_hot([0, 1, 2, 0, 1], K)
    x, close = (s["images"](latents=latents, targets=targets)["images"] for s in loaded)
    assert close.dtype == tf.float32 and 0 < np.abs(x - close).max() < 0.01


def test_the_files_of_half_a_teacher_are_half_as_large(tmp_path):
    """With many weights, beside which the signatures' own size is small."""
    generator = generators.build_generator(
        generators.GeneratorSpec(
            latent_size=64,
            num_classes=K,
            image_shape=problems.IMAGE_SHAPE,
            widths=(1024, 512, 64),
        ),
        seed=0,
    )
    case = problems.build_case(teacher="gtn", precision="float32")
    teacher = GTN(case.problem.teacher.spec, generator, seed=1)
    problem = dataclasses.replace(case.problem, teacher=teacher)
    whole, half = tmp_path / "whole", tmp_path / "half"
    saved_models.export_teacher(whole, problem, build_dataset(), {})
    saved_models.export_teacher(half, problem, build_dataset(), {}, half=True)
    assert 0.45 < folder_size(half) / folder_size(whole) < 0.6


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_interrupted_export_leaves_no_half(tmp_path, monkeypatch):
    learner, params, statistics = build_learner()
    model = learner.assign(params, statistics)
    folder = tmp_path / "learner"

    def save_half(module, path, signatures):
        os.makedirs(f"{path}/variables")
        with open(f"{path}/variables/half", "w") as file:
            file.write("half")
        raise KeyboardInterrupt

    def interrupted():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(tf.saved_model, "save", save_half)
            saved_models.export_learner(folder, model, build_dataset())

    interrupted()
    assert not folder.exists()
    saved_models.export_learner(folder, model, build_dataset())
    assert [path.name for path in tmp_path.iterdir()] == ["learner"]
    assert not list(tmp_path.rglob("half"))
    before = contents(folder)
    assert folder / "saved_model.pb" in before

    interrupted()
    assert contents(folder) == before  # the old one stays
    learner.assign(params + 1, statistics)
    saved_models.export_learner(folder, model, build_dataset())
    assert [path.name for path in tmp_path.iterdir()] == ["learner"]
    assert contents(folder) != before and not list(tmp_path.rglob("half"))
    images = tf.zeros([1, 4, 4, 2])
    x = normalize(images, build_dataset().mean, build_dataset().std)
    expected, _ = learner.apply(params + 1, statistics, x, training=False)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    np.testing.assert_allclose(serve(images=images)["logits"], expected, rtol=1e-4)


KERAS_LEARNERS = {
    "plain": {},
    "center": {"normalization": "center"},
    "layer": {"normalization": "layer", "activation": "relu"},
    "no weight norm": {"weight_norm": False},
    "cifar10": {"family": "cifar10", "widths": (3, 4, 5, 6, 7)},
    "depthwise": {
        "family": "depthwise",
        "activation": "gelu",
        "normalization": "layer",
    },
    "transformer": {
        "family": "transformer",
        "weight_norm": False,
        "normalization": "layer",
    },
}
# Loads every Keras file of a folder, and says what it makes of the pixels.
KERAS_CHILD = """
import json
import pathlib
import sys

sys.modules["gtn_tf"] = None
import keras
import numpy as np

pixels = np.load("pixels.npy")
logits, accuracies = {}, {}
for path in pathlib.Path().glob("*.keras"):
    model = keras.models.load_model(path)
    logits[path.stem] = model.predict(pixels, verbose=0)
    labels = np.argmax(logits[path.stem], -1)
    accuracies[path.stem] = model.evaluate(pixels, labels, verbose=0)[1]
np.savez("logits.npz", **logits)
print(json.dumps(accuracies))
"""


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    """Name -> logits by hand; name -> logits and accuracy of another process."""
    folder = tmp_path_factory.mktemp("keras")
    dataset, expected = build_dataset(), {}
    x = normalize(PIXELS, dataset.mean, dataset.std)
    for name, options in KERAS_LEARNERS.items():
        spec = learners.LearnerSpec(
            **{"family": "mnist", "widths": (3, 4, 5)} | options,
            image_shape=dataset.image_shape,
            num_classes=dataset.num_classes,
        )
        learner = stateless.StatelessModel(learners.build_model(spec))
        params, statistics = learner.init(SEED)
        params += 0.1 * tf.random.stateless_normal(params.shape, SEED)
        statistics += tf.random.stateless_uniform(statistics.shape, SEED)
        model = learner.assign(params, statistics)
        saved_models.export_keras(folder / f"{name}.keras", model, dataset)
        expected[name], _ = learner.apply(params, statistics, x, training=False)
    np.save(folder / "pixels.npy", PIXELS)
    child = subprocess.run(
        [sys.executable, "-I", "-c", KERAS_CHILD],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        capture_output=True,
        text=True,
    )
    return expected, dict(np.load(folder / "logits.npz")), json.loads(child.stdout)


@pytest.mark.parametrize("name", KERAS_LEARNERS)
def test_a_keras_file_needs_keras_alone_and_takes_raw_pixels(keras_files, name):
    expected, logits, accuracies = keras_files
    np.testing.assert_allclose(logits[name], expected[name], rtol=1e-4, atol=1e-5)
    assert np.ptp(logits[name], axis=0).max() > 0.01
    assert accuracies[name] == 1
