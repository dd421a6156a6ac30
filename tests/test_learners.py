import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf import learners, stateless

DIGITS = dict(image_shape=(8, 8, 1), num_classes=10)
MNIST = dict(image_shape=(28, 28, 1), num_classes=10)
CIFAR10 = dict(image_shape=(32, 32, 3), num_classes=10)

# A weight-normalised layer has inputs * units weights and a gain for each unit, the
# last one biases too; full batch norm a scale and a shift, centering a shift.
NUM_PARAMS = [
    # Images halve twice: 8, 4, 2.
    #   3*3*1*32  + 32 + 64  =    384
    #   3*3*32*64 + 64 + 128 = 18,624
    #   2*2*64*64 + 64 + 128 = 16,576
    #   64*10     + 10 + 10  =    660
    ("digits:32-64-64", DIGITS, {}, 36_244),
    # Images halve twice: 28, 14, 7.
    #   3*3*1*64    + 64  + 128 =       768
    #   3*3*64*128  + 128 + 256 =    74,112
    #   7*7*128*256 + 256 + 512 = 1,606,400
    #   256*10      + 10  + 10  =     2,580
    ("mnist:64-128-256", MNIST, {}, 1_683_860),
    # Without scales: 64 + 128 + 256 = 448 fewer.
    ("mnist:64-128-256", MNIST, {"normalization": "center"}, 1_683_412),
    # Without gains: 64 + 128 + 256 + 10 = 458 fewer.
    ("mnist:64-128-256", MNIST, {"weight_norm": False}, 1_683_402),
    #   3*3*3*64    + 64  + 128 =   1,920
    #   3*3*64*128  + 128 + 256 =  74,112
    #   3*3*128*128 + 128 + 256 = 147,840, three times
    #   128*10      + 10  + 10  =   1,300
    ("cifar10:64-128-128-128-128", CIFAR10, {}, 520_852),
    #   64*16 + 16 + 32 = 1,072;  16*8 + 8 + 16 = 152;  8*10 + 10 + 10 = 100
    ("fully_connected:16-8", DIGITS, {}, 1_324),
    #   3*3*1*4 + 4 + 8 =  48;  3*3*4*4 + 4 + 8  = 156, twice
    #   3*3*4*8 + 8 + 16 = 312;  3*3*8*8 + 8 + 16 = 600, twice;  8*10 + 10 + 10 = 100
    ("residual:4-8", DIGITS, {}, 1_972),
]


def build(text, common, **options):
    (spec,) = learners.parse(text, 1, 0, **common, **options)
    return spec, learners.build_model(spec)


@pytest.mark.parametrize("text, common, options, num_params", NUM_PARAMS)
def test_number_of_params(text, common, options, num_params):
    spec, model = build(text, common, **options)
    assert stateless.StatelessModel(model).num_params == num_params
    # A mean and, in full batch norm, a variance for every hidden unit.
    per_unit = 1 if spec.normalization == "center" else 2
    num_statistics = sum(np.prod(v.shape) for v in model.non_trainable_variables)
    layers_per_width = 3 if spec.family == "residual" else 1
    assert num_statistics == per_unit * layers_per_width * sum(spec.widths)


@pytest.mark.parametrize(
    "text, common, strides, pooling",
    [
        ("digits:4-4-4", DIGITS, (2, 2), []),
        ("mnist:4-4-4", MNIST, (1, 1), ["MaxPooling2D"]),
    ],
)
def test_families_with_a_dense_layer_halve_images_twice(text, common, strides, pooling):
    _, model = build(text, common)
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["WeightNormConv2D", *pooling, "BatchNorm", "LeakyReLU"]
    assert kinds == [
        "InputLayer",
        *block,
        *block,
        "Flatten",
        "WeightNormDense",
        *block[-2:],
        "WeightNormDense",
        "Activation",
    ]
    assert {layer.strides for layer in model.layers if "conv" in layer.name} == {
        strides
    }
    flat = next(layer for layer in model.layers if "flatten" in layer.name)
    assert flat.output.shape[1] == 4 * (common["image_shape"][0] // 4) ** 2


def test_convolutional_family_strides_at_the_second_and_fourth_layer():
    _, model = build("cifar10:4-4-4-4-4", CIFAR10, weight_norm=False)
    shapes = [
        layer.output.shape[1:3]
        for layer in model.layers
        if type(layer).__name__ == "Conv2D"
    ]
    assert shapes == [(32, 32), (16, 16), (16, 16), (8, 8), (8, 8)]
    kinds = collections.Counter(type(layer).__name__ for layer in model.layers)
    assert kinds["GlobalAveragePooling2D"] == 1
    assert kinds["BatchNorm"] == kinds["LeakyReLU"] == 5


@pytest.mark.parametrize("text, common, options, _", NUM_PARAMS)
def test_logits(text, common, options, _):
    family, _, widths = text.partition(":")
    narrow = "-".join("2" for _ in widths.split("-"))
    _, model = build(f"{family}:{narrow}", common, **options)
    x = tf.random.stateless_normal([5, *common["image_shape"]], [1, 2])
    logits = model(x)
    assert logits.shape == (5, 10)
    assert logits.dtype == tf.float32
    assert np.all(np.std(logits, axis=0) > 0)


@pytest.mark.parametrize(
    "precision, variables, logits",
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float64", "float64", "float64"),
    ],
)
def test_precision(precision, variables, logits):
    _, model = build("digits:2-2-2", DIGITS, precision=precision)
    assert {v.dtype for v in model.variables} == {variables}
    assert model.output.dtype == logits
    products = {
        layer.compute_dtype
        for layer in model.layers
        if "WeightNorm" in str(type(layer))
    }
    assert products == {precision}
    others = {
        layer.compute_dtype
        for layer in model.layers[1:]
        if "WeightNorm" not in str(type(layer))
    }
    assert others == {variables}


@pytest.mark.parametrize("family", learners.FAMILIES)
def test_predefined_set_is_reproducible_and_in_range(family):
    specs = learners.sample_specs(family, 400, seed=3, **MNIST, weight_norm=False)
    assert specs == learners.sample_specs(
        family, 400, seed=3, **MNIST, weight_norm=False
    )
    assert specs[:5] != learners.sample_specs(
        family, 5, seed=4, **MNIST, weight_norm=False
    )
    ranges = learners.FAMILIES[family].width_ranges
    depths = collections.Counter(len(spec.widths) for spec in specs)
    allowed = range(learners.FAMILIES[family].min_depth, len(ranges) + 1)
    assert set(depths) == set(allowed)
    for depth in allowed:  # uniform
        assert abs(depths[depth] - 400 / len(allowed)) < 80
    for index, (low, high) in enumerate(ranges):
        column = np.array([s.widths[index] for s in specs if index < len(s.widths)])
        assert low <= column.min() < low + (high - low) / 10
        assert high - (high - low) / 10 < column.max() <= high
        assert abs(column.mean() - (low + high) / 2) < (high - low) / 10
    pairs = np.array([spec.widths[:2] for spec in specs if len(spec.widths) > 1])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.3
    assert all(spec.family == family and not spec.weight_norm for spec in specs)


def test_width_ranges_are_the_paper_s():
    assert learners.FAMILIES["mnist"].width_ranges == ((32, 128), (64, 256), (64, 256))
    assert learners.FAMILIES["cifar10"].width_ranges == (
        (32, 128),
        (64, 256),
        (64, 256),
        (64, 256),
        (64, 256),
    )


def test_specs_are_hashable_and_told_apart():
    (spec,) = learners.parse("mnist:64-128-256", 1, 0, **MNIST)
    (same,) = learners.parse("mnist:64-128-256", 9, 5, **MNIST)
    assert {spec: 1}[same] == 1
    fields = {
        "widths": (64, 128, 255),
        "weight_norm": False,
        "normalization": "center",
        "activation": "gelu",
        "initializer": "keras",
        "precision": "bfloat16",
    }
    others = [dataclasses.replace(spec, **{k: v}) for k, v in fields.items()]
    assert len({spec, *others}) == 1 + len(fields)
    assert str(spec) == "mnist:64-128-256"


def test_parse_draws_from_the_predefined_set():
    assert learners.parse("mnist", 3, 7, **MNIST) == learners.sample_specs(
        "mnist", 3, 7, **MNIST
    )


def test_parse_joins_learners_of_several_kinds_and_drops_repetitions():
    texts = ["residual:4-8", "mnist", "cifar10:4-4-4-4-4"]
    joined = learners.parse(",".join([*texts, "residual:4-8"]), 2, 7, **MNIST)
    apart = [spec for text in texts for spec in learners.parse(text, 2, 7, **MNIST)]
    assert joined == apart
    assert len(joined) == 4


@pytest.mark.parametrize(
    "text, came, allowed",
    [
        ("mnist,vgg", "learner family 'vgg' is unknown", "digits, mnist, cifar10, "),
        ("mnist,", "learner family '' is unknown", "digits, mnist, cifar10, "),
        ("vgg", "learner family 'vgg' is unknown", "digits, mnist, cifar10, "),
        ("", "learner family '' is unknown", "digits, mnist, cifar10, "),
        ("mnist:64-128", "widths '64-128'", "takes 3 positive integers"),
        ("mnist:64-128-256-10", "widths '64-128-256-10'", "as in mnist:64-64-64"),
        ("mnist:64-0-256", "widths '64-0-256'", "takes 3 positive integers"),
        ("mnist:64-x-256", "widths '64-x-256'", "takes 3 positive integers"),
        ("mnist:64--256", "widths '64--256'", "takes 3 positive integers"),
        ("cifar10:64-128-256", "widths '64-128-256'", "takes 5 positive integers"),
    ],
)
def test_parse_errors(text, came, allowed):
    with pytest.raises(ValueError) as error:
        learners.parse(text, 1, 0, **MNIST)
    message = str(error.value)
    assert came in message
    assert allowed in message
    assert "\n" not in message
