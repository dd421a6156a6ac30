"""keras-tuner's users bring their models; a teacher judges them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time

import keras
import keras_tuner
import pytest
import tensorflow as tf
from keras import layers
from keras_tuner.src.backend import io

import gtn_tf
import nas
from gtn_tf import data
from gtn_tf.errors import UserError
from nas.commands import search
from nas.search.config import SearchConfig

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPLITS = data.load("digits", None, seed=0)
X, Y = SPLITS.validation.images[:100], SPLITS.validation.labels[:100]

# What a user has in a file, as small as it can be.
SPACE = """
    import keras
    from keras import layers

    def build(hp):
        units = hp.Int("units", 2, 40)
        activation = hp.Choice("activation", ["relu", "tanh"])
        return keras.Sequential([
            keras.Input((8, 8, 1)), layers.Flatten(),
            layers.Dense(units, activation), layers.Dense(10),
        ])

    def small_images(hp):
        return keras.Sequential([
            keras.Input((7, 7, 1)), layers.Flatten(), layers.Dense(10)
        ])

    def broken(hp):
        raise KeyError("units")
"""


def build(hp):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(hp.Int("units", 2, 40), hp.Choice("act", ["relu", "tanh"])),
            layers.Dense(10),
        ]
    )


class Residual(keras_tuner.HyperModel):
    """As keras-tuner's own: choices that are there only after others."""

    def declare_hyperparameters(self, hp):
        hp.Choice("filters", [4, 8])

    def build(self, hp):
        x = inputs = keras.Input((8, 8, 1))
        x = layers.Conv2D(hp.get("filters"), 3, padding="same")(x)
        kind = hp.Choice("kind", ["residual", "plain"])
        with hp.conditional_scope("kind", ["residual"]):
            if kind == "residual":
                for _ in range(hp.Int("blocks", 1, 2)):
                    y = layers.BatchNormalization()(x)
                    y = layers.ReLU()(y)
                    y = layers.Conv2D(x.shape[-1], 3, padding="same")(y)
                    x = layers.Add()([x, y])
        with hp.conditional_scope("kind", ["plain"]):
            if kind == "plain":
                x = layers.Activation(hp.Choice("activation", ["relu", "tanh"]))(x)
        x = layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, layers.Dense(10, "softmax")(x))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model


@pytest.fixture(scope="module")
def teacher():
    return gtn_tf.load_teacher("digits")


@pytest.fixture
def make(teacher, tmp_path):
    """A tuner in this test's folder."""

    def tuner(hypermodel=build, **options):
        options = {
            "max_trials": 3,
            "directory": tmp_path,
            "project_name": "a",
        } | options
        return nas.TeacherTuner(hypermodel, teacher, **options)

    return tuner


def found(tuner):
    """Values and score of every trial, in the order of their beginning."""
    trials = [tuner.oracle.trials[name] for name in tuner.oracle.start_order]
    return [(trial.hyperparameters.values, trial.score) for trial in trials]


def run(tuner):
    tuner.search(X, Y, verbose=0)
    return found(tuner)


def test_a_search_as_keras_tuners_users_know_it(make, teacher, tmp_path, capsys):
    tuner = make()
    results = run(tuner)
    best_values, best = max(results, key=lambda result: result[1])
    assert len(results) == 3 and best > 0.3
    (model,) = tuner.get_best_models()
    assert teacher.evaluate(model, X, Y) == pytest.approx(best, abs=1e-6)
    assert tuner.get_best_hyperparameters()[0].values == best_values
    tuner.results_summary()
    assert f"Score: {best}" in capsys.readouterr().out
    assert {"oracle.json", "tuner0.json", "trial_0"} <= set(os.listdir(tmp_path / "a"))


def test_a_seed_decides_the_scores(make, teacher):
    first = run(make(project_name="a"))
    tf.random.normal([])  # what else is drawn does not matter
    assert run(make(project_name="b")) == first
    assert run(make(project_name="c", seed=1)) != first


def test_more_trials_go_on(make):
    whole = run(make(max_trials=4, project_name="whole"))
    first = run(make(max_trials=2))
    assert first == whole[:2]
    assert run(make(max_trials=4)) == whole
    assert len(run(make(overwrite=True, max_trials=1))) == 1


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_choices_that_depend_on_others(make, oracle):
    tuner = make(Residual(), oracle=oracle, max_trials=4, project_name=oracle)
    for values, score in run(tuner):
        assert ("blocks" in values) == (values["kind"] == "residual")
        assert 0 < score < 1
    names = [hp.name for hp in tuner.oracle.get_space().space]
    assert names == ["filters", "kind", "blocks", "activation"]


def test_an_oracle_of_ones_own(make):
    objective = keras_tuner.Objective("val_accuracy", "max")
    space = keras_tuner.HyperParameters()
    space.Int("units", 3, 6)
    oracle = keras_tuner.oracles.GridSearchOracle(
        objective=objective, hyperparameters=space, tune_new_entries=False
    )
    assert [values["units"] for values, _ in run(make(oracle=oracle))] == [3, 4, 5, 6]


def test_the_best_are_trained_on_real_data(make, teacher):
    def compiled(hp):
        model = build(hp)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        return model

    tuner = make(compiled)
    scores = sorted((score for _, score in run(tuner)), reverse=True)
    train = SPLITS.train
    finalists = tuner.train_best(
        train.images, train.labels, X, Y, count=2, epochs=8, verbose=0
    )
    assert sorted((f.score for f in finalists), reverse=True) == scores[:2]
    assert finalists[0].accuracy >= finalists[1].accuracy > 0.5
    best = finalists[0]
    assert teacher.evaluate(best.model, X, Y) == best.accuracy


class Lazy(keras.Model):
    """Has no weights before it is called; too many poolings cannot be."""

    def __init__(self, num_poolings):
        super().__init__()
        self.poolings = [layers.MaxPooling2D() for _ in range(num_poolings)]
        self.last = layers.Dense(10)

    def call(self, x):
        for pooling in self.poolings:
            x = pooling(x)
        return self.last(layers.Flatten()(x) if x.shape[1] else x[:, 9])


def test_models_that_are_built_by_their_first_call(make):
    tuner = make(lambda hp: Lazy(hp.Int("poolings", 0, 5)), max_trials=6)
    scores = {values["poolings"]: score for values, score in run(tuner)}
    assert len(scores) == 6
    assert all((score is None) == (num > 3) for num, score in scores.items()), scores


def test_what_cannot_be_built_fails_its_trial(make):
    def fragile(hp):
        units = hp.Int("units", 1, 8)
        if units > 2:
            raise RuntimeError(f"{units} units are too many")
        return keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)]
        )

    tuner = make(fragile, max_trials=8)
    for values, score in run(tuner):
        assert (score is None) == (values["units"] > 2)
    messages = [trial.message for trial in tuner.oracle.trials.values()]
    assert sum("units are too many" in (message or "") for message in messages) == 6
    assert len(tuner.get_best_models(2)) == 2


def test_what_diverges_fails_its_trial(make):
    def model(hp):
        factor = hp.Choice("factor", [1.0, 1e30])
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Rescaling(factor),
                layers.Dense(10),
                layers.Rescaling(factor),
            ]
        )

    tuner = make(model, max_trials=2)
    assert [score is None for values, score in sorted(run(tuner), key=str)] == [
        *(False, True)
    ]
    assert any("not finite" in (t.message or "") for t in tuner.oracle.trials.values())


def flat(shape, num_outputs=10):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(num_outputs)(layers.Flatten()(inputs)))


def two_outputs(hp):
    model = flat((8, 8, 1))
    return keras.Model(model.inputs, [model.output, model.output])


@pytest.mark.parametrize(
    "hypermodel, words",
    [
        (lambda hp: flat((7, 7, 1)), r"input is \(None, 7, 7, 1\), the teacher is for"),
        (lambda hp: flat((8, 8, 1), 9), "outputs of shape .*9"),
        (two_outputs, "has a list of 2 outputs"),
        (lambda hp: "a model", "a str cannot be taught"),
        (7, "7 is no hypermodel: give a keras_tuner.HyperModel or a function"),
    ],
)
def test_models_that_cannot_be_taught_are_refused_at_once(
    make, tmp_path, hypermodel, words
):
    with pytest.raises(UserError, match=words):
        make(hypermodel)
    assert not os.listdir(tmp_path)


def test_a_model_that_cannot_be_taught_ends_the_search(make):
    def model(hp):
        return flat((8, 8, hp.Choice("channels", [1, 3])))

    with pytest.raises(UserError, match=r"input is \(None, 8, 8, 3\)"):
        run(make(model))


@pytest.mark.parametrize(
    "x, y, words",
    [
        (X[:, :4], Y, "images of shape .* give .N, 8, 8, 1"),
        (X, Y[:3], "labels of shape"),
        (X, Y + 5, "none of the teacher's 10 classes"),
    ],
)
def test_images_that_cannot_be_end_the_search(make, x, y, words):
    with pytest.raises(UserError, match=words):
        make().search(x, y, verbose=0)


def test_arguments_of_fit_are_refused(make):
    with pytest.raises(TypeError, match="epochs"):
        make().search(X, Y, epochs=3)


@pytest.mark.parametrize(
    "oracle, words",
    [
        ("hyperband", "oracle 'hyperband' is unknown: give random or bayesian, or"),
        (keras_tuner.oracles.RandomSearchOracle("val_loss"), "val_loss.*val_accuracy"),
        (
            keras_tuner.oracles.RandomSearchOracle(["val_loss", "val_accuracy"]),
            "MultiObjective.*give it objective=keras_tuner.Objective.'val_accuracy'",
        ),
        (keras_tuner.oracles.RandomSearchOracle(), "default_objective.*val_accuracy"),
    ],
)
def test_oracles_that_cannot_be(make, oracle, words):
    with pytest.raises(UserError, match=words):
        make(oracle=oracle)


def test_scores_that_do_not_compare_stay_apart(make, teacher, monkeypatch):
    run(make(max_trials=1))
    for options, word in [({"seed": 1}, "seed"), ({"rate_scale": 0.5}, "rate_scale")]:
        with pytest.raises(UserError, match=f"another {word}: give another project"):
            make(**options)
    other = teacher.description | {"num_outer_steps": 3}
    monkeypatch.setattr(teacher, "description", other)
    with pytest.raises(UserError, match="another teacher"):
        make()
    assert len(run(make(overwrite=True, max_trials=1))) == 1


def test_files_that_do_not_agree(make, tmp_path):
    whole = run(make(project_name="whole"))
    run(make(max_trials=2))
    begun = tmp_path / "a" / "trial_2"  # but the oracle does not know of it
    begun.mkdir()
    trial = json.loads((tmp_path / "a" / "trial_1" / "trial.json").read_text())
    trial |= {"trial_id": "2", "status": "RUNNING", "score": None}
    (begun / "trial.json").write_text(json.dumps(trial))
    assert run(make()) == whole
    path = tmp_path / "a" / "oracle.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match="is damaged.*overwrite=True"):
        make()


@pytest.mark.parametrize("name", ["tuner0", "oracle", "trial"])
def test_killed_in_the_midst_of_a_file(make, monkeypatch, name):
    whole = run(make(project_name="whole"))
    make(max_trials=1).search(X, Y)
    opened = io.File

    def half(path, mode):
        file = opened(path, mode)
        if mode == "w" and name in str(path).split("/")[-1]:
            file.write("{")
            file.close()
            raise KeyboardInterrupt
        return file

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(io, "File", half)
        make().search(X, Y)
    assert run(make()) == whole


def test_tensorflow_is_not_there_before_it_is_asked_for():
    program = "import sys, nas; print('tensorflow' in sys.modules, nas.__all__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "False ['TeacherTuner']\n"
    with pytest.raises(AttributeError, match="no attribute 'Tuner'"):
        nas.Tuner  # noqa: B018


# In several processes.


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A folder of a user's, and a process that stands in it."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "spaces.py").write_text(textwrap.dedent(SPACE))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("spaces", None)


def trials(folder):
    """Values and score of every trial that there is a file of."""
    files = sorted(folder.glob("trial_*/trial.json"))
    states = [json.loads(file.read_text()) for file in files]
    return [(state["hyperparameters"]["values"], state["score"]) for state in states]


def flags(folder, name="build", **changes):
    options = {"hypermodel": f"spaces:{name}", "max_trials": 4, "workdir": str(folder)}
    return options | {"num_validation_images": 100} | changes


def test_killed_at_once_and_started_again(space, tmp_path, capsys):
    command = [sys.executable, ROOT / "bin" / "search"]
    command += [f"--{name}={value}" for name, value in flags("part").items()]
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    part = subprocess.Popen(command, **output)
    folder = space / "part" / "keras_tuner"
    while not (folder / "trial_2" / "trial.json").exists():
        assert part.poll() is None
        time.sleep(0.01)
    part.send_signal(signal.SIGKILL)
    part.wait()
    assert not (folder / "trial_3").exists()
    search.run(SearchConfig(**flags("part")))
    table = (space / "part" / "table.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    search.run(SearchConfig(**flags("whole")))
    whole = trials(space / "whole" / "keras_tuner")
    assert trials(folder) == whole and len(whole) == 4
    best = max(score for _, score in whole)
    assert table.splitlines()[2].startswith(f"| {best:.4g} |")
    assert "units=" in table


PROGRAM = """
    import sys, nas
    from gtn_tf import data
    from spaces import build

    split = data.load("digits", None, seed=0).validation
    tuner = nas.TeacherTuner(build, "digits", max_trials=4, directory=sys.argv[1])
    tuner.search(split.images[:100], split.labels[:100])
"""


def test_a_chief_and_two_workers(space, make):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (space / "program.py").write_text(textwrap.dedent(PROGRAM))
    processes = []
    for name in ("chief", "worker0", "worker1"):
        environment = os.environ | {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
            "PYTHONPATH": str(ROOT),
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, "program.py", "out"],
                env=environment,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
        )
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    search.run(SearchConfig(**flags("alone")))
    alone = trials(space / "alone" / "keras_tuner")
    together = trials(space / "out" / "untitled_project")
    assert [values for values, _ in together] == [values for values, _ in alone]
    # Scores of workers are 32-bit on their way.
    expected = [pytest.approx(score, abs=1e-6) for _, score in alone]
    assert [score for _, score in together] == expected


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"hypermodel": "spaces"}, "is no MODULE:NAME: give it as in spaces:build"),
        ({"hypermodel": "missing:build"}, "ModuleNotFoundError: No module named 'miss"),
        ({"hypermodel": "wrong:build"}, "ZeroDivisionError.*wrong.py, line 1"),
        ({"hypermodel": "spaces:biuld"}, "biuld of .*spaces.py is not there: give"),
        ({"hypermodel": "spaces:layers"}, "is a module: give the name of a keras_tun"),
        ({"hypermodel": "spaces:small_images"}, r"input is \(None, 7, 7, 1\)"),
        ({"hypermodel": "spaces:broken"}, "default values .KeyError: 'units'; .*line"),
        ({"teacher": "missing"}, "missing is no folder"),
        (
            {"space": "darts"},
            "--space=darts does not go with --hypermodel=spaces:b",
        ),
        ({"architectures": "file"}, "--architectures=file does not go with"),
        ({"num_epochs": 50}, "--num_epochs=50.0 does not go with --hypermodel=spaces"),
        ({"evaluation": "params"}, "--evaluation=params does not go with"),
        ({"num_filters": 16}, "--num_filters=16 does not go with"),
        ({"time_limit_seconds": 9}, "--time_limit_seconds=9.0 does not go with"),
        ({"oracle": "evolution"}, "--oracle=evolution cannot search a --hypermodel"),
    ],
)
def test_searches_of_hypermodels_that_cannot_be(space, changes, words):
    (space / "wrong.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=words):
        search.run(SearchConfig(**flags("out", **changes)))


def test_a_hypermodel_by_its_class(space):
    (space / "own.py").write_text(
        "import keras_tuner, spaces\n"
        "class Own(keras_tuner.HyperModel):\n"
        "    def build(self, hp):\n"
        "        return spaces.build(hp)\n"
    )
    search.run(SearchConfig(**flags("out", hypermodel="own:Own", max_trials=1)))
    assert len(trials(space / "out" / "keras_tuner")) == 1
    sys.modules.pop("own")
