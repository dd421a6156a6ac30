"""Every evaluation of an architecture, on digits and one small network each."""

import dataclasses
import functools
import gc
import math

import keras
import numpy as np
import problems
import pytest
import tensorflow as tf

import gtn_tf
from gtn_tf.commands import train
from gtn_tf.data import loaders
from gtn_tf.data.dataset import Split
from gtn_tf.networks.initial_weights import initialize
from gtn_tf.teaching import batch_statistics
from nas.evaluations import base, few_steps, real_training, saliencies, zero_cost
from nas.evaluations.base import Context, Procedure
from nas.evaluations.dismissal import Dismissal
from nas.evaluations.registry import EVALUATIONS
from nas.spaces import nao
from nas.spaces.base import Size
from nas.spaces.nao_space import NaoSpace
from nas.spaces.operations import Style

SIZE = Size(num_cells=1, num_filters=2, image_shape=(8, 8, 1), num_classes=10)


def builder(text, **changes):
    """What builds the network of NAO's integers."""
    size = dataclasses.replace(SIZE, **changes)
    return functools.partial(NaoSpace().build, nao.decode(text), size)


CELL = "0 7 1 10 0 7 1 5"  # one node in each cell
BUILD = builder(CELL)
POOLS = builder("0 10 1 13 0 13 1 10")
DRAWN = (
    *("naswot", "jacov", "swap", "synflow"),
    *("l2_norm", "grad_norm", "snip", "fisher", "zico"),
)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    config = dataclasses.replace(
        problems.SMALL_RUN, workdir=str(folder), compare_with_real=False
    )
    train.run(config)
    return Context(
        dataset=loaders.load("digits", None, 0),
        teacher=gtn_tf.load_teacher(folder),
        procedure=Procedure(num_epochs=0.5, batch_size=64, learning_rate=0.1),
        num_steps=3,
        early_epochs=0.25,
        num_validation_images=50,
    )


@pytest.mark.parametrize("name", EVALUATIONS)
def test_one_signature(context, name):
    result = EVALUATIONS[name](context, BUILD, 1)
    assert math.isfinite(result.score) and not result.diverged
    assert result.seconds > 0
    if name in ("teacher", "search"):  # what is trained comes from the seed too
        assert EVALUATIONS[name](context, BUILD, 1).score == result.score
    if name not in ("synflow", "teacher", "real_steps", "sum_of_losses"):
        model = BUILD()
        num_params = sum(math.prod(v.shape) for v in model.trainable_variables)
        assert result.num_params == num_params
    if name in DRAWN:  # weights, and what comes of them
        assert EVALUATIONS[name](context, BUILD, 2).score != result.score


def test_weights_come_from_the_seed():
    made = []
    for seed in (4, 4, 5):
        base.timed_result(BUILD, seed, lambda model: made.append(model) or 0)
    first, again, other = made
    for a, b, c in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        if a.name == "kernel":
            assert not np.array_equal(a, c)


def test_flops_are_counted(context):
    model = BUILD()
    by_hand = sum(
        2
        * math.prod(layer.kernel.shape)
        * layer.output.shape[1]
        * layer.output.shape[2]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    by_hand += 2 * math.prod(model.layers[-1].kernel.shape)
    assert zero_cost.flops(context, BUILD, 0).score == by_hand


def test_naswot_of_patterns_that_are_known(context, monkeypatch):
    """Two ReLUs; of four images two switch on the same one, one the other, one both."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs))
    x = tf.constant([[1.0, -1.0], [2.0, -3.0], [-1.0, 1.0], [1.0, 1.0]])
    monkeypatch.setattr(real_training, "first_batch", lambda *_: (x, None))
    alike = zero_cost.naswot(context, lambda: model, 0)
    assert alike.diverged and alike.score == -1e9  # two rows are equal
    monkeypatch.setattr(real_training, "first_batch", lambda *_: (x[2:], None))
    expected = math.log(np.linalg.det([[2, 1], [1, 2]]))
    assert zero_cost.naswot(context, lambda: model, 0).score == pytest.approx(expected)


def test_swap_counts_patterns_that_differ(context, monkeypatch):
    """Of five ReLUs two are active for the same images, in layers of their own."""
    inputs = keras.Input((3,))
    shifted = keras.layers.Rescaling(1.0, offset=5.0)(inputs[:, :2])  # always active
    outputs = keras.layers.Concatenate()(
        [keras.layers.ReLU()(inputs), keras.layers.ReLU()(shifted)]
    )
    model = keras.Model(inputs, outputs)
    x = tf.constant([[1.0, -1.0, 1.0], [2.0, -3.0, 1.0], [-1.0, 1.0, 1.0]])
    monkeypatch.setattr(real_training, "first_batch", lambda *_: (x, None))
    assert zero_cost.swap(context, lambda: model, 0).score == 3  # 110, 001, 111
    monkeypatch.setattr(real_training, "first_batch", lambda *_: (x[:2], None))
    assert zero_cost.swap(context, lambda: model, 0).score == 2  # 11, 00
    # Of 33 images the last one is not looked at.
    many = tf.concat([tf.ones([32, 3]), [[1.0, -1.0, 1.0]]], 0)
    monkeypatch.setattr(real_training, "first_batch", lambda *_: (many, None))
    assert zero_cost.swap(context, lambda: model, 0).score == 1


def test_zico_of_one_dense_layer(context, monkeypatch):
    """Cross-entropy of zero logits for x of 1 and 3: |dL/dw| is 1/2 and 3/2 for both
    weights, whose mean is 1 and standard deviation 1/2; for equal batches there is no
    deviation to divide by."""
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(2, kernel_initializer="zeros")
    model = keras.Model(inputs, dense(inputs))
    for images, expected in (([[1.0], [3.0]], math.log(2 + 2)), ([[1.0], [1.0]], 0)):
        pairs = tf.data.Dataset.from_tensor_slices((images, [[1.0, 0.0]] * 2))
        monkeypatch.setattr(real_training, "batches", lambda *_, p=pairs: p.batch(1))
        found = saliencies.zico(context, lambda: model, 0)
        assert found.score == pytest.approx(expected)


def test_synflow_of_one_dense_layer(context):
    """R = sum_i |w_i| for ones: w dR/dw = |w|."""
    inputs = keras.Input((8, 8, 1), dtype="float64")
    features = keras.layers.Flatten(dtype="float64")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(features))
    found = zero_cost.synflow(context, lambda style: model, 0)
    kernel = initialize(model, 0).get_weights()[0]
    assert found.score == pytest.approx(math.log(np.abs(kernel).sum()))


def test_grad_norm_of_one_dense_layer(context, monkeypatch):
    """Cross-entropy of zero logits for ones: dL/dw = mean(1/2 - y); the bias, whose
    gradient is the same, does not count."""
    inputs = keras.Input((1,))
    model = keras.Model(
        inputs, keras.layers.Dense(2, kernel_initializer="zeros")(inputs)
    )
    batch = (tf.ones([4, 1]), tf.one_hot([0, 0, 0, 1], 2))
    monkeypatch.setattr(real_training, "first_batch", lambda *_: batch)
    expected = math.hypot(0.25, 0.25)
    assert saliencies.grad_norm(context, lambda: model, 0).score == pytest.approx(
        expected
    )


def test_l2_norm_of_two_dense_layers(context):
    """Norms of kernels are added, not squared; biases do not count."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(1, kernel_initializer="ones")(inputs)
    outputs = keras.layers.Dense(9, kernel_initializer="ones", bias_initializer="ones")
    model = keras.Model(inputs, outputs(hidden))
    assert saliencies.l2_norm(context, lambda: model, 0).score == pytest.approx(2 + 3)


def dense_layer_of_known_numbers(monkeypatch):
    """A dense layer to two logits, which are equal for both images.

    Both are of class 0 and have probabilities of 1/2: dL/dlogits = (-1/4, 1/4).
    """
    inputs = keras.Input((2,))
    kernel = keras.initializers.Constant([[1.0, 2.0], [1.0, 0.0]])
    bias = keras.initializers.Constant([5.0, 5.0])
    layer = keras.layers.Dense(2, kernel_initializer=kernel, bias_initializer=bias)
    batch = (tf.constant([[1.0, 1.0], [3.0, 3.0]]), tf.one_hot([0, 0], 2))
    monkeypatch.setattr(real_training, "first_batch", lambda *_: batch)
    return keras.Model(inputs, layer(inputs))


def test_snip_of_one_dense_layer(context, monkeypatch):
    """dL/dw_ij, summed over images, is (1 + 3) (-1/4, 1/4) for both inputs: the score
    is the sum of |w| over the kernel, without the biases."""
    model = dense_layer_of_known_numbers(monkeypatch)
    found = saliencies.snip(context, lambda: model, 0)
    assert found.score == pytest.approx(1 + 2 + 1 + 0)


def test_fisher_of_one_dense_layer(context, monkeypatch):
    """Logits are (7, 7) and (11, 11), their gradients (-1/4, 1/4) each: the sum over
    both channels of half the mean of squares."""
    model = dense_layer_of_known_numbers(monkeypatch)
    found = saliencies.fisher(context, lambda: model, 0)
    expected = 2 * ((7 / 4) ** 2 + (11 / 4) ** 2) / 2 / 2
    assert found.score == pytest.approx(expected)


def test_fisher_adds_a_channel_over_its_positions_before_it_squares(
    context, monkeypatch
):
    """Of a convolution by 1 and -1 the channels are x and -x, their means the logits.

    Both images are (1, 3): logits (2, -2), of class 0. dL/da has p_1 / 2 / 2 in each
    position, with the sign of its logit, so that a channel's sum is 4 p_1 / 4.
    """
    inputs = keras.Input((1, 2, 1))
    kernel = keras.initializers.Constant([[[[1.0, -1.0]]]])
    features = keras.layers.Conv2D(2, 1, kernel_initializer=kernel, use_bias=False)(
        inputs
    )
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(features))
    batch = (tf.constant([[[[1.0], [3.0]]]] * 2), tf.one_hot([0, 0], 2))
    monkeypatch.setattr(real_training, "first_batch", lambda *_: batch)
    other = 1 / (1 + math.exp(4))  # p_1
    expected = 2 * other**2 / 2
    found = saliencies.fisher(context, lambda: model, 0)
    assert found.score == pytest.approx(expected, rel=1e-4)


def test_jacov_of_a_network_whose_jacobian_is_known(context, monkeypatch):
    """Of ReLU and sum the gradient is 1 where x is positive: of two images' rows
    (1, 1, 0, 0) and (1, 0, 1, 0) the correlation is 0, and both eigenvalues are 1;
    of (1, 1, 0, 0) and (1, 1, 1, 0) it is 1 / sqrt(3)."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs))
    first, second, third = [1.0, 1, -1, -1], [1.0, -1, 1, -1], [1.0, 1, 1, -1]
    for other, correlation in ((second, 0), (third, 3**-0.5)):
        batch = (tf.constant([first, other]), None)
        monkeypatch.setattr(real_training, "first_batch", lambda *_, b=batch: b)
        values = np.array([1 - correlation, 1 + correlation]) + 1e-5
        expected = -np.sum(np.log(values) + 1 / values)
        found = zero_cost.jacov(context, lambda: model, 0)
        assert found.score == pytest.approx(expected, rel=1e-6)


def test_jacov_where_nothing_reaches_the_logits(context, monkeypatch):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Rescaling(0.0)(inputs))
    batch = (tf.ones([3, 2]), None)
    monkeypatch.setattr(real_training, "first_batch", lambda *_: batch)
    found = zero_cost.jacov(context, lambda: model, 0)
    assert found.diverged and found.score == -1e9


def test_the_teacher_proxy_is_a_taught_learner_on_validation_images(context):
    model = initialize(BUILD(style=Style(weight_norm=True)), 1)
    context.teacher.teach(model, seed=1, rate_scale=1.0)
    validation = context.dataset.validation
    x = context.normalize(validation.images[:50])
    right = np.argmax(model(x, training=False), axis=1) == validation.labels[:50]
    assert few_steps.teacher(context, BUILD, 1).score == pytest.approx(right.mean())


def test_the_score_is_the_mean_of_networks_of_seeds_in_a_row(context):
    one_by_one = [few_steps.teacher(context, BUILD, seed).score for seed in (4, 5, 6)]
    assert len(set(one_by_one)) > 1
    three = dataclasses.replace(context, num_networks=3)
    assert few_steps.teacher(three, BUILD, 4).score == pytest.approx(
        np.mean(one_by_one), abs=1e-6
    )


def test_the_early_loss_is_weighed_beside_the_accuracy(context):
    """That of the second half of the first quarter of the steps, below a guess's."""
    alone = few_steps.teacher(context, BUILD, 4)
    assert alone.accuracy is None
    model = initialize(BUILD(style=Style(weight_norm=True)), 4)
    losses = context.teacher.trainer(model, 4).train()
    gain = math.log(10) - losses[0]  # of a teacher of 3 steps
    weighed = dataclasses.replace(context, early_loss_weight=0.5)
    found = few_steps.teacher(weighed, BUILD, 4)
    assert found.accuracy == pytest.approx(alone.score)
    assert found.score == pytest.approx(alone.score + 0.5 * gain, abs=1e-5)
    two = few_steps.teacher(dataclasses.replace(weighed, num_networks=2), BUILD, 4)
    second = few_steps.teacher(weighed, BUILD, 5)
    assert two.score == pytest.approx((found.score + second.score) / 2, abs=1e-5)


def test_a_weighed_score_of_a_network_that_diverges_is_below_all(context, monkeypatch):
    monkeypatch.setattr(few_steps, "accuracy_measure", lambda *_: lambda: math.nan)
    weighed = dataclasses.replace(context, early_loss_weight=0.5)
    found = few_steps.teacher(weighed, BUILD, 4)
    assert found.diverged and found.score == -1e9 and found.accuracy is None


def test_a_network_that_is_behind_is_not_measured(context, monkeypatch):
    alone = few_steps.teacher(context, BUILD, 4)
    ahead = dataclasses.replace(context, dismissal=Dismissal(2, lambda: [9.0] * 10))
    kept = few_steps.teacher(ahead, BUILD, 4)
    assert kept.score == alone.score and not kept.dismissed
    monkeypatch.setattr(few_steps, "accuracy_measure", None)
    monkeypatch.setattr(batch_statistics, "average", None)
    behind = dataclasses.replace(context, dismissal=Dismissal(2, lambda: [0.0] * 10))
    dismissed = few_steps.teacher(behind, BUILD, 4)
    assert dismissed.dismissed and not dismissed.diverged
    assert dismissed.early_loss == kept.early_loss == -dismissed.score


def test_real_training_learns(context):
    longer = dataclasses.replace(context.procedure, num_epochs=6)
    model = initialize(builder(CELL, num_filters=8)(), 0)
    losses = real_training.train(context, model, longer, 120, 0)
    assert 1 < losses.total < 120 * 1.5  # a sum, below guessing
    assert base.accuracy(context, model, context.dataset.validation) > 0.6


def test_weight_decay_is_in_the_gradient(context):
    model = initialize(BUILD(), 0)
    before = [v.numpy() for v in model.trainable_variables]
    procedure = Procedure(
        num_epochs=1, batch_size=64, learning_rate=1e-3, weight_decay=1e3, clip_norm=1e9
    )
    real_training.train(context, model, procedure, 1, 0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        # lr * decay = 1: one step takes all of it, and moves a little by the loss.
        assert np.abs(variable.numpy()).max() < 0.05 + 0.05 * np.abs(old).max()


def test_a_diverged_network_is_one_bad_score(context):
    wild = dataclasses.replace(context.procedure, learning_rate=1e30, clip_norm=1e30)
    few = dataclasses.replace(context, procedure=wild)
    result = real_training.search_evaluation(few, BUILD, 0)
    assert result.diverged and result.score == 0
    assert few_steps.sum_of_losses(few, BUILD, 0).score == -1e9
    assert few_steps.real_steps(few, BUILD, 0).diverged


@pytest.mark.parametrize("name", ["teacher", "real_steps", "search"])
def test_no_traced_step_outlives_its_architecture(context, name):
    def graphs():
        gc.collect()
        return {id(o) for o in gc.get_objects() if type(o).__name__ == "FuncGraph"}

    before = graphs()
    EVALUATIONS[name](context, BUILD, 3)
    assert not graphs() - before


def test_no_thread_holds_back_the_end_of_the_data(context):
    assert real_training.batches(context, 8, 0, 0).options().autotune.enabled is False


def test_batches_are_augmented_anew_and_cut(context):
    dataset = dataclasses.replace(context.dataset, augment=True)
    train = dataset.train
    dataset = dataclasses.replace(
        dataset, train=Split(train.images[:8], train.labels[:8])
    )
    augmented = dataclasses.replace(context, dataset=dataset)
    shown = [batch for batch, _ in real_training.batches(augmented, 8, 4, 0).take(3)]
    assert all(batch.shape == (8, 8, 8, 1) for batch in shown)
    assert not np.array_equal(shown[0], shown[1])
    again = [batch for batch, _ in real_training.batches(augmented, 8, 4, 0).take(3)]
    np.testing.assert_array_equal(shown[2], again[2])
    whole = next(iter(real_training.batches(augmented, 8, 0, 0)))[0]
    cut = (shown[0].numpy() == 0) & (whole.numpy() != 0)
    assert (cut.sum(axis=(1, 2, 3)) >= 4).all()


def test_every_image_once_in_an_epoch(context):
    labels = context.dataset.train.labels
    shown = real_training.batches(context, 64, 0, 0).take(len(labels) // 64 + 1)
    seen = np.concatenate([np.argmax(targets, axis=1) for _, targets in shown])
    np.testing.assert_array_equal(np.bincount(seen[: len(labels)]), np.bincount(labels))


def test_no_teacher(context):
    without = dataclasses.replace(context, teacher=None)
    with pytest.raises(ValueError, match="needs a teacher: give --teacher=FOLDER"):
        few_steps.teacher(without, BUILD, 0)


def test_architectures_without_relus(context):
    result = zero_cost.naswot(context, POOLS, 0)
    assert math.isfinite(result.score)
    assert base.accuracy(context, initialize(POOLS(), 0), context.scoring_split)
