"""Runs, evaluations, exports and searches on one's own images, of odd sizes too."""

import dataclasses
import json

import keras
import numpy as np
import own_images
import problems
import pytest

import gtn_tf
from gtn_tf.commands import evaluate, export, train
from gtn_tf.data import Dataset, load
from gtn_tf.networks import learners
from gtn_tf.networks.families import FAMILIES
from gtn_tf.networks.learner_spec import LearnerSpec
from gtn_tf.networks.stock_models import STOCK_MODELS
from gtn_tf.runs import run_setup
from nas.commands import search
from nas.search.config import SearchConfig
from nas.search.context import build_context
from nas.spaces.base import Size
from nas.spaces.registry import SPACES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a folder of images of 17x23x1, from elsewhere than where it is used."""
    place = tmp_path_factory.mktemp("place")
    own_images.write_classes(place / "pets", (20, 22, 24), height=17, width=23)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        config = dataclasses.replace(
            problems.SMALL_RUN,
            dataset="folder:pets",
            workdir=str(place / "run"),
            num_outer_steps=1,
            seed=4,
            compare_with_real=False,
        )
        train.run(config)
    return config


def test_later_commands_find_the_same_split(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    dataset = load(run.dataset, None, run.seed)
    described = gtn_tf.load_teacher(run.workdir).description
    assert described["data_digest"] == dataset.digest
    assert described["dataset"] == "pets"
    # No folder of its maker's machine goes out with it.
    assert described["flags"]["dataset"] == "folder:pets"
    assert described["class_names"] == ["cat", "dog", "eel"]
    evaluate.run(
        evaluate.EvaluationConfig(
            run.workdir, measures="inner_steps", num_test_learners=2
        )
    )
    export.run(export.ExportConfig(run.workdir, str(tmp_path / "export")))
    learner = keras.models.load_model(tmp_path / "export" / "learner.keras")
    assert learner.input_shape == (None, 17, 23, 1)
    assert (tmp_path / "export" / "tfds" / "pets_gtn" / "1.0.0").is_dir()


def test_a_search_judges_on_the_teachers_own_validation_images(run, tmp_path, capsys):
    config = SearchConfig(
        dataset=run.dataset,
        teacher=run.workdir,
        space="nasbench201",
        num_filters=4,
        max_trials=1,
        workdir=str(tmp_path / "search"),
    )
    (entry,) = search.run(config)
    # Ten validation images: 15 % of 20, 22 and 24.
    assert 10 * entry.accuracy == pytest.approx(round(10 * entry.accuracy))
    expected = load(run.dataset, None, seed=4).digest
    assert build_context(config).dataset.digest == expected
    assert "warning: the teacher" not in capsys.readouterr().err


def test_images_that_changed_are_told_of(run, tmp_path, capsys):
    """A note where a run is measured; a refusal where it would go on."""
    own_images.write_classes(tmp_path / "pets", (20, 22, 25), height=17, width=23)
    moved = evaluate.EvaluationConfig(
        run.workdir,
        data_dir=str(tmp_path),
        measures="inner_steps",
        num_test_learners=2,
    )
    told = "'train': 46, 'validation': 10, 'test': 10"
    # The old place is there still: a path that is whole is not looked for elsewhere.
    evaluate.run(moved)
    assert "warning" not in capsys.readouterr().err
    old = run_setup.load_dataset(run)
    setup = run_setup.build(run, load(f"folder:{tmp_path / 'pets'}", None, run.seed))
    folder = type(tmp_path)(run.workdir)
    before = (folder / "metrics.csv").read_bytes()
    with pytest.raises(ValueError, match="trained on other images .num images") as e:
        train.meta_training.meta_train(setup, folder)
    assert told in str(e.value) and "\n" not in str(e.value)
    train.meta_training.restore(setup, folder)
    error = capsys.readouterr().err
    assert error.startswith(f"warning: {folder} was trained on other images of 'pets'")
    assert (folder / "metrics.csv").read_bytes() == before
    record = json.loads((folder / "data.json").read_text())
    assert record["digest"] == old.digest


@pytest.mark.parametrize("name", SPACES)
def test_cells_of_odd_images(name):
    size = Size(num_cells=1, num_filters=4, image_shape=(17, 23, 1), num_classes=3)
    space = SPACES[name].of_search(SearchConfig(space=name))
    assert space.build(space.sample(0, 0), size).output_shape == (None, 3)


@pytest.mark.parametrize("shape", [(17, 23, 1), (4, 40, 3), (64, 64, 3)])
def test_learners_of_odd_images(shape):
    for name, family in FAMILIES.items():
        spec = LearnerSpec(name, (4,) * len(family.width_ranges), shape, 3)
        assert learners.build_model(spec).output_shape == (None, 3), name
    for name, build in STOCK_MODELS.items():
        assert build(shape, 3).output_shape == (None, 3), name


def color_arrays(seed=0, shape=(20, 18, 3)):
    """Two classes that differ in color, as floats; 60 of each."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 60)
    images = random.uniform(0, 0.5, (120, *shape))
    images[60:, ..., 0] += 0.5
    return images, labels


def test_meta_train_returns_a_teacher(tmp_path, monkeypatch):
    """Of pixels that begin as real images, which teach colors at once."""
    monkeypatch.chdir(tmp_path)
    dataset = Dataset.from_arrays(color_arrays(), class_names=["dim", "red"])
    flags = {"teacher": "distillation", "warm_start_steps": 1, "num_outer_steps": 1}
    flags["compare_with_real"] = False
    teacher = gtn_tf.meta_train(dataset, problems.SMALL_RUN, **flags)
    assert isinstance(teacher, gtn_tf.LoadedTeacher)
    assert teacher.image_shape == (20, 18, 3) and teacher.class_names == ["dim", "red"]
    (folder,) = (tmp_path / "runs").iterdir()  # other arrays have another
    assert folder.name.startswith(f"arrays-{dataset.digest[:8]}-distillation-")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((20, 18, 3)), *layers])
    teacher.teach(model)
    assert teacher.evaluate(model, dataset.test.images, dataset.test.labels) > 0.9
    with pytest.raises(ValueError, match="made of arrays in a Python program"):
        evaluate.run(evaluate.EvaluationConfig(str(folder)))


def test_meta_train_by_name_is_bin_trains_run(tmp_path):
    x, y = color_arrays()
    np.savez(tmp_path / "colors.npz", x_train=x, y_train=y)
    name, workdir = f"npz:{tmp_path / 'colors.npz'}", str(tmp_path / "run")
    teacher = gtn_tf.meta_train(
        name,
        problems.SMALL_RUN,
        workdir=workdir,
        image_size="8x9",
        seed=5,
        compare_with_real=False,
    )
    latents = np.zeros((2, problems.SMALL_RUN.latent_size))
    assert teacher.images(latents, [0, 1]).shape == (2, 8, 9, 3)
    assert teacher.description["flags"]["dataset"] == "npz:colors.npz"
    expected = load(name, None, seed=5, image_size="8x9")
    assert teacher.description["data_digest"] == expected.digest
    context = build_context(SearchConfig(dataset=name, teacher=workdir))
    assert context.dataset.digest == expected.digest


@pytest.mark.parametrize(
    "dataset, flags, message",
    [
        ("digits", {"teacher": "real"}, "teacher='real' has nothing"),
        ("digits", {"seed": -1}, "--seed=-1 is out of range"),
        ("folder:nowhere", {}, "nowhere is no folder"),
        (np.zeros((2, 8, 8)), {}, "a ndarray is no data set: give a gtn_tf.data.D"),
        (Dataset.from_arrays(color_arrays()), {"image_size": "8"}, "data sets by name"),
    ],
)
def test_mistakes_in_meta_train_write_nothing(
    tmp_path, monkeypatch, dataset, flags, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        gtn_tf.meta_train(dataset, **flags)
    assert not list(tmp_path.iterdir())
