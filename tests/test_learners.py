import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks import learners, stateless

DIGITS = dict(image_shape=(8, 8, 1), num_classes=10)
MNIST = dict(image_shape=(28, 28, 1), num_classes=10)
CIFAR10 = dict(image_shape=(32, 32, 3), num_classes=10)

# A weight-normalized layer has inputs * units weights and a gain for each unit, the
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
    #   3*3*1*4 + 4 + 8  =    48, of the image's size, then
    #   3*3*4*8 + 8 + 16 =   312, of half of it
    #   4*4*8*10 + 10 + 10 = 1,300
    ("shallow:4-8", DIGITS, {}, 1_660),
    #   3*3*1*4 + 4 + 8 =  48
    #   3*3*4   + 8     =  44;  4*8 + 8 + 16  =  56
    #   3*3*8   + 16    =  88;  8*8 + 8 + 16  =  88;  8*10 + 10 + 10 = 100
    ("depthwise:4-8-8", DIGITS, {}, 424),
    # 16 patches of 2x2, neither gains nor batch norm, and biases everywhere.
    #   2*2*1*4 + 4 = 20;  16*4 = 64
    #   4 + 4 = 8;  3 * (4*4 + 4) = 60;  4*4 + 4 = 20
    #   4 + 4 = 8;  4*6 + 6 = 30;  6*4 + 4 = 28
    #   4 + 4 = 8;  4*10 + 10 = 50
    ("transformer:4-6", DIGITS, {}, 296),
    # Biases of 16 + 8 units in place of scales and shifts.
    ("fully_connected:16-8", DIGITS, {"normalization": "none"}, 1_300),
    ("fully_connected:16-8", DIGITS, {"normalization": "layer"}, 1_324),
]


def num_normalized(spec):
    """Units of hidden layers that batch norm follows."""
    total = sum(spec.widths)
    return {
        "residual": 3 * total,  # three layers for each width
        "depthwise": 2 * total - spec.widths[-1],  # each but the last also depthwise
        "transformer": 0,
    }.get(spec.family, total)


def build(text, common, **options):
    (spec,) = learners.parse(text, 1, 0, **common, **options)
    return spec, learners.build_model(spec)


@pytest.mark.parametrize("text, common, options, num_params", NUM_PARAMS)
def test_number_of_params(text, common, options, num_params):
    spec, model = build(text, common, **options)
    assert stateless.StatelessModel(model).num_params == num_params
    # A mean and, in full batch norm, a variance for every hidden unit.
    per_unit = {"batch": 2, "center": 1}.get(spec.normalization, 0)
    num_statistics = sum(np.prod(v.shape) for v in model.non_trainable_variables)
    assert num_statistics == per_unit * num_normalized(spec)


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
    # Of two features, layer norm would leave signs alone.
    narrow = "-".join("4" for _ in widths.split("-"))
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


ANY = dict(image_shape=(8, 8, 1), num_classes=10)
NAMES = [name for name, family in learners.FAMILIES.items() if family.in_any]


@pytest.mark.parametrize("num_specs", [1, 3, 8, 11, 16])
def test_any_goes_through_all_families_in_turn(num_specs):
    specs = learners.parse("any", num_specs, 0, **ANY)
    assert [spec.family for spec in specs] == (NAMES + NAMES)[:num_specs]


def test_any_draws_widths_from_half_the_ranges():
    for spec in learners.parse("any", 160, 0, **ANY):
        ranges = learners.FAMILIES[spec.family].width_ranges
        for width, (low, high) in zip(spec.widths, ranges, strict=False):
            assert round(low / 2) <= width <= round(high / 2)


@pytest.mark.parametrize("leave_out", [("mnist",), ("transformer", "digits")])
def test_any_does_not_stand_for_what_is_left_out(leave_out):
    kept = [name for name in NAMES if name not in leave_out]
    specs = learners.parse("any", 9, 0, leave_out, **ANY)
    assert [spec.family for spec in specs] == (kept + kept)[:9]
    text = "mnist:4-4-4,any,transformer:4-4"  # what is named stays
    specs = learners.parse(text, 2, 0, leave_out, **ANY)
    assert [spec.family for spec in specs] == ["mnist", *kept[:2], "transformer"]


def test_something_must_be_left():
    with pytest.raises(ValueError) as error:
        learners.parse("any", 4, 0, tuple(NAMES), **ANY)
    assert str(error.value) == (
        f"--learner=any without --leave_out={','.join(NAMES)} names no learner: "
        f"leave one of {', '.join(NAMES)} in"
    )


def test_what_is_left_out_must_exist():
    with pytest.raises(ValueError, match="learner family 'vgg' is unknown"):
        learners.parse("any", 4, 0, ("vgg",), **ANY)


def drawn_values(specs, name):
    fixed = [f for f, family in learners.FAMILIES.items() if name in family.fixed]
    return [getattr(spec, name) for spec in specs if spec.family not in fixed]


@pytest.mark.parametrize("text", ["any", "digits", ",".join(["mnist:4-4-4"] * 64)])
@pytest.mark.parametrize("name", learners.VARIED)
def test_only_what_is_named_is_drawn(text, name):
    common = ANY | {"weight_norm": False, "normalization": "center"}
    plain = learners.LearnerSpec("digits", (1, 1, 1), **common)
    specs = learners.parse(text, 96, 3, (), (name,), **common)
    assert set(drawn_values(specs, name)) == set(learners.VARIED[name])
    for other in learners.VARIED.keys() - {name}:
        assert set(drawn_values(specs, other)) == {getattr(plain, other)}


def test_nothing_is_drawn_where_nothing_is_named():
    specs = learners.parse("any", 24, 3, **ANY)
    for name in learners.VARIED:
        assert len(set(drawn_values(specs, name))) == 1


@pytest.mark.parametrize("name", learners.VARIED)
def test_a_property_is_drawn_alike_whatever_else_is(name):
    alone, among_all = (
        learners.parse("any", 64, 5, (), vary, **ANY)
        for vary in ((name,), tuple(learners.VARIED))
    )
    assert drawn_values(alone, name) == drawn_values(among_all, name)
    assert [spec.widths for spec in alone] == [spec.widths for spec in among_all]
    counts = collections.Counter(drawn_values(alone, name))  # each value often
    assert min(counts.values()) > counts.total() / len(counts) / 2


def test_properties_are_drawn_apart():
    vary = tuple(learners.VARIED)
    specs = learners.parse("residual", 96, 5, (), vary, **ANY)
    combinations = {tuple(getattr(s, name) for name in vary) for s in specs}
    assert len(combinations) > 25  # of 2 * 3 * 3 * 2 = 36


@pytest.mark.parametrize("text", ["any", "digits", "digits:4-4-4,mnist:4-4-4"])
def test_draws_depend_on_the_seed_alone(text):
    vary = tuple(learners.VARIED)
    specs, again, *others = (
        learners.parse(text, 16, seed, (), vary, **ANY) for seed in (0, 0, 1, 2, 3)
    )
    assert specs == again
    assert all(other != specs for other in others)


def test_what_a_family_has_of_its_own_is_not_drawn():
    vary = tuple(learners.VARIED)
    specs = learners.parse("transformer", 32, 0, (), vary, **ANY)
    assert {(s.weight_norm, s.normalization) for s in specs} == {(False, "layer")}
    assert len({(s.activation, s.initializer) for s in specs}) == 6
    (named,) = learners.parse("transformer:4-4", 1, 0, weight_norm=True, **ANY)
    assert (named.weight_norm, named.normalization) == (False, "layer")


@pytest.mark.parametrize(
    "text, came, allowed",
    [
        ("mnist,vgg", "learner family 'vgg' is unknown", "digits, mnist, cifar10, "),
        ("mnist,", "learner family '' is unknown", "digits, mnist, cifar10, "),
        ("vgg", "learner family 'vgg' is unknown", "digits, mnist, cifar10, "),
        ("", "learner family '' is unknown", "digits, mnist, cifar10, "),
        ("any:64", "learner family 'any' is unknown", "policy or any, "),
        ("residual:4", "widths '4'", "takes 2 to 3 positive integers"),
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
