"""The teacher's steps for all, real epochs for the best: successive halving."""

import json
import shutil

import keras
import keras_tuner
import pytest
from keras import layers

import gtn_tf
import nas
from gtn_tf import data
from gtn_tf.errors import UserError
from nas.search import halving, real_epochs
from nas.search.halving import Record, Rung, Training

SPLITS = data.load("digits", None, seed=0)
X, Y = SPLITS.train.images[:320], SPLITS.train.labels[:320]  # whole batches
X_VAL, Y_VAL = SPLITS.validation.images[:100], SPLITS.validation.labels[:100]


# Who goes on.


@pytest.mark.parametrize(
    "numbers, expected",
    [
        ((9, 1, 3), [(9, 1), (3, 3), (1, 9)]),
        ((10, 2, 3), [(10, 2), (3, 6), (1, 18)]),
        ((5, 1, 2), [(5, 1), (2, 2), (1, 4)]),
        ((2, 4, 3), [(2, 4)]),
        ((0, 1, 3), []),
    ],
)
def test_rungs(numbers, expected):
    assert halving.rungs(*numbers) == [Rung(*rung) for rung in expected]


@pytest.mark.parametrize(
    "numbers, words",
    [
        ((0, 1, 3), "count=0 trains nothing: give 1 or more"),
        ((9, 0, 3), "epochs=0 trains nothing"),
        ((9, 1, 1), "factor=1 leaves nobody out: give 2 or more"),
    ],
)
def test_numbers_that_make_no_rungs(numbers, words):
    with pytest.raises(UserError, match=words):
        halving.check(*numbers)


def climb(record, accuracies, names="abcd"):
    """What trains, and what comes of it; of two, one goes on."""
    calls = []

    def train(name, before, epochs):
        calls.append((name, before, epochs))
        return accuracies[name, epochs]

    plan = halving.rungs(len(names), 1, 2)
    return calls, halving.climb(list(names), plan, record, train)


ACCURACIES = {
    **{("a", 1): 0.1, ("b", 1): 0.4, ("c", 1): 0.3, ("d", 1): 0.2},
    **{("b", 2): 0.5, ("c", 2): 0.6, ("c", 4): 0.55, ("e", 1): 0.05},
}


def test_the_best_of_each_rung_go_on(tmp_path):
    calls, last = climb(Record(tmp_path / "record", {}), ACCURACIES)
    assert calls == [
        *[(name, 0, 1) for name in "abcd"],
        *[("b", 1, 2), ("c", 1, 2), ("c", 2, 4)],
    ]
    found = [(training.trial_id, training.epochs) for training in last]
    assert found == [("c", 4), ("b", 2), ("d", 1), ("a", 1)]


def test_equal_ones_keep_their_order(tmp_path):
    equal = dict.fromkeys(ACCURACIES, 0.5) | {("a", 2): 0.5, ("a", 4): 0.5}
    _, last = climb(Record(tmp_path / "record", {}), equal)
    assert [training.trial_id for training in last] == list("abcd")


def test_what_is_recorded_is_not_done_again(tmp_path):
    path = tmp_path / "record"
    whole = climb(Record(path, {"epochs": 1}), ACCURACIES)
    assert climb(Record(path, {"epochs": 1}), {}) == ([], whole[1])
    newcomer, last = climb(Record(path, {"epochs": 1}), ACCURACIES, "abcde")
    assert newcomer == [("e", 0, 1)] and last[0] == whole[1][0]


@pytest.mark.parametrize("cut", range(7))
def test_a_kill_after_any_training_changes_nothing(tmp_path, cut):
    whole = climb(Record(tmp_path / "whole", {}), ACCURACIES)
    part = Record(tmp_path / "part", {})
    some = dict(ACCURACIES)
    doomed = whole[0][cut]
    del some[doomed[0], doomed[2]]
    with pytest.raises(KeyError):
        climb(part, some)
    calls, last = climb(Record(tmp_path / "part", {}), ACCURACIES)
    assert calls == whole[0][cut:]
    assert [t._replace(seconds=0) for t in last] == [
        t._replace(seconds=0) for t in whole[1]
    ]


def test_a_record_of_another_halving(tmp_path):
    path = tmp_path / "record"
    record = Record(path, {"epochs": 1, "batch_size": 32})
    record.append(Training("a", 1, 0.5, 1.0))
    with pytest.raises(UserError, match="batch_size=32 there, None now; epochs=1 th"):
        Record(path, {"epochs": 2})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"trainings": [{"x": 1}], "asked": {}}', '{"asked": {}}']
)
def test_what_is_no_record(tmp_path, text):
    path = tmp_path / "record"
    path.write_text(text)
    with pytest.raises(UserError, match="is no record of a halving.*: remove it"):
        Record(path, {})


# Models that train.


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(hp.Int("units", 2, 64), hp.Choice("act", ["relu", "tanh"])),
            layers.Dropout(0.1),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)  # quick to start
    return model


class SmallResNet(keras_tuner.HyperModel):
    """Versions of stacked residual blocks, as keras-tuner's HyperResNet has them."""

    def build(self, hp):
        version = hp.Choice("version", ["v1", "v2"])
        x = inputs = keras.Input((8, 8, 1))
        x = layers.Conv2D(hp.Choice("filters", [4, 8]), 3, padding="same")(x)
        for stack in range(hp.Int("stacks", 1, 2)):
            for block in range(hp.Int(f"depth_{stack}", 1, 2 - stack)):
                x = self.block(x, version, stride=2 if block == 0 else 1)
        with hp.conditional_scope("version", ["v2"]):
            if version == "v2":
                x = layers.Activation(hp.Choice("last", ["relu", "swish"]))(x)
        pooling = hp.Choice("pooling", ["avg", "max"])
        pool = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
        x = layers.Dense(10, "softmax")(pool[pooling]()(x))
        model = keras.Model(inputs, x)
        optimizer = keras.optimizers.get(hp.Choice("optimizer", ["adam", "rmsprop"]))
        optimizer.learning_rate = hp.Choice("learning_rate", [0.01, 0.001])
        loss = "sparse_categorical_crossentropy"
        model.compile(optimizer, loss, jit_compile=False)
        return model

    def block(self, x, version, stride):
        filters = x.shape[-1]
        y = x
        if version == "v2":
            y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(filters, 3, stride, padding="same")(y)
        if version == "v1":
            y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(filters, 3, padding="same")(y)
        if stride > 1:
            x = layers.Conv2D(filters, 1, stride)(x)
        return layers.Add()([x, y])

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [64]), **kwargs)


@pytest.fixture(scope="module")
def teacher():
    return gtn_tf.load_teacher("digits")


def searched(hypermodel, teacher, folder, max_trials=3):
    """A search that is over."""
    tuner = nas.TeacherTuner(
        hypermodel,
        teacher,
        max_trials=max_trials,
        directory=folder,
        project_name="a",
    )
    tuner.search(X_VAL, Y_VAL, verbose=0)
    return tuner


@pytest.fixture(scope="module")
def one_search(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    searched(build, teacher, folder)
    return folder


@pytest.fixture
def tuner(one_search, teacher, tmp_path):
    """Of a search of `build` that is over, in this test's folder."""
    shutil.copytree(one_search / "a", tmp_path / "a")
    return searched(build, teacher, tmp_path)


def halve(tuner, **options):
    options = {"count": 3, "factor": 2, "verbose": 0} | options
    return tuner.halve(X, Y, X_VAL, Y_VAL, **options)


def shown(finalists):
    return [
        (finalist.hyperparameters.values, finalist.accuracy, finalist.epochs)
        for finalist in finalists
    ]


def check(finalists, tuner, folder):
    """What holds of trials of which one goes on from 2 epochs to 4."""
    others = finalists[1:]
    assert [finalist.epochs for finalist in finalists] == [4] + [2] * len(others)
    assert others == sorted(others, key=lambda finalist: -finalist.accuracy)
    scores = {trial.score for trial in tuner.oracle.trials.values()}
    assert {finalist.score for finalist in finalists} == scores
    for finalist in finalists:  # the models are what was measured
        accuracy = tuner.teacher.evaluate(finalist.model, X_VAL, Y_VAL)
        assert accuracy == finalist.accuracy
    record = json.loads((folder / "a" / "halving.json").read_text())
    assert [each["epochs"] for each in record["trainings"]] == [
        2,
        *[2] * len(others),
        4,
    ]


def test_the_best_train_longest(tuner, tmp_path):
    finalists = halve(tuner, epochs=2)
    check(finalists, tuner, tmp_path)
    assert finalists[0].accuracy > 0.5
    # The optimizer has gone on as well.
    assert int(finalists[0].model.optimizer.iterations) == 4 * 10


def test_residual_networks_with_a_fit_of_their_own(teacher, tmp_path):
    tuner = searched(SmallResNet(), teacher, tmp_path, max_trials=2)
    finalists = halve(tuner, epochs=2)
    check(finalists, tuner, tmp_path)
    assert int(finalists[0].model.optimizer.iterations) == 4 * 5
    for finalist in finalists:
        assert finalist.hyperparameters.values.keys() >= {"version", "depth_0"}
        assert "batch_size" not in finalist.hyperparameters.values


def test_what_has_trained_does_not_train_again(tuner, monkeypatch):
    first = shown(halve(tuner, count=2))
    calls = []
    go_on = real_epochs.RealEpochs.go_on

    def counted(self, trial, folder, before, epochs):
        calls.append((trial.score, epochs))
        return go_on(self, trial, folder, before, epochs)

    monkeypatch.setattr(real_epochs.RealEpochs, "go_on", counted)
    assert shown(halve(tuner, count=2)) == first and not calls
    # More are asked for than have come to their end.
    assert [finalist.epochs for finalist in halve(tuner, count=5)][0] == 2
    worst = min(trial.score for trial in tuner.oracle.trials.values())
    assert calls[0] == (worst, 1)
    assert all(epochs > 1 for _, epochs in calls[1:])


def test_a_fit_of_ones_own_needs_no_compiled_model(teacher, tmp_path):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return uncompiled(hp)

        def fit(self, hp, model, x, y, initial_epoch, epochs):
            seen.append((initial_epoch, epochs))

    seen = []
    tuner = searched(Own(), teacher, tmp_path, max_trials=2)
    tuner.halve(X, Y, X_VAL, Y_VAL, factor=2)
    assert seen == [(0, 1), (0, 1), (1, 2)]


def uncompiled(hp):
    inputs = keras.Input((8, 8, 1))
    x = layers.Dense(hp.Int("units", 8, 9))(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(10)(x))


def test_what_cannot_be_halved(tuner, teacher, tmp_path):
    fresh = nas.TeacherTuner(build, teacher, directory=tmp_path, project_name="b")
    with pytest.raises(UserError, match="no trial has come to its end: search first"):
        halve(fresh)
    with pytest.raises(UserError, match="count=0 trains nothing"):
        halve(fresh, count=0)
    halve(tuner, count=1)
    with pytest.raises(UserError, match="epochs=1 there, 2 now"):
        halve(tuner, epochs=2)
    with pytest.raises(UserError, match="batch_size=None there, 7 now"):
        halve(tuner, batch_size=7)


def test_what_cannot_train(teacher, tmp_path):
    tuner = searched(uncompiled, teacher, tmp_path, max_trials=1)
    for train in (tuner.halve, tuner.train_best):
        with pytest.raises(UserError, match="is not compiled: compile it in build"):
            train(X, Y, X_VAL, Y_VAL)


def test_batch_norm_is_settled_before_the_accuracy(teacher, tmp_path):
    """After one epoch, moving averages of momentum 0.99 are near where they began."""

    def model(hp):
        inputs = keras.Input((8, 8, 1))
        x = layers.Flatten()(inputs)
        for _ in range(2):
            x = layers.Dense(hp.Int("units", 32, 33))(x * 3)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        model = keras.Model(inputs, layers.Dense(10)(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=False)  # quick to start
        return model

    tuner = searched(model, teacher, tmp_path, max_trials=1)
    x, y = SPLITS.train.images, SPLITS.train.labels
    (settled,) = tuner.halve(x, y, X_VAL, Y_VAL, count=1, verbose=0)
    (moving,) = tuner.train_best(x, y, X_VAL, Y_VAL, count=1, epochs=1, verbose=0)
    assert settled.accuracy > moving.accuracy + 0.2
