import numpy as np
import pytest
import tensorflow as tf

from gtn_tf.networks import generators, stateless

# Table 2's z and 10 classes; latents and label enter together. A weight-normalized
# layer has inputs * units weights and a gain for each unit, batch norm a scale and a
# shift, the last convolution a bias.
NUM_PARAMS = [
    #   (128+10)*1024   + 1024 + 2048   =   144,384
    #   1024*(128*7*7)  + 6272 + 2*6272 = 6,441,344
    #   3*3*128*64      + 64   + 128    =    73,920
    #   3*3*64*1        + 1    + 1      =       578
    ((28, 28, 1), True, 6_660_226),
    # Without gains: 1024 + 6272 + 64 + 1 = 7,361 fewer.
    ((28, 28, 1), False, 6_652_865),
    #   (128+10)*1024   + 1024 + 2048   =   144,384
    #   1024*(128*8*8)  + 8192 + 2*8192 = 8,413,184
    #   3*3*128*64      + 64   + 128    =    73,920
    #   3*3*64*3        + 3    + 3      =     1,734
    ((32, 32, 3), True, 8_633_222),
]


@pytest.mark.parametrize("image_shape, weight_norm, num_params", NUM_PARAMS)
def test_number_of_params(image_shape, weight_norm, num_params):
    spec = generators.GeneratorSpec(
        latent_size=128,
        num_classes=10,
        image_shape=image_shape,
        weight_norm=weight_norm,
    )
    model = generators.build_generator(spec, seed=0)
    assert stateless.StatelessModel(model).num_params == num_params
    assert model.output_shape == (None, *image_shape)


def build(seed=0, **options):
    spec = generators.GeneratorSpec(
        latent_size=5,
        num_classes=4,
        widths=(6, 4, 3),
        **{"image_shape": (8, 12, 2)} | options,
    )
    return generators.build_generator(spec, seed)


def inputs(batch_size=9):
    latents = tf.random.stateless_normal([batch_size, 5], [1, 2])
    return latents, tf.one_hot(tf.range(batch_size) % 4, 4)


def generate(model):
    """Images of `inputs`, normalized by their own statistics as in meta-training."""
    return model(inputs(), training=True).numpy()


def test_images():
    images = generate(build())
    assert images.shape == (9, 8, 12, 2)
    assert np.all(np.abs(images) <= 1)
    assert np.all(images.std(axis=0) > 0)


def test_output_scale_multiplies_the_tanh():
    images = generate(build())
    np.testing.assert_allclose(generate(build(output_scale=2.0)), 2 * images, rtol=1e-6)


def test_images_depend_on_the_label():
    model = build()
    latents, targets = inputs()
    assert not np.allclose(
        generate(model), model([latents, tf.roll(targets, 1, 0)], training=True)
    )


def test_weights_are_determined_by_the_seed():
    first, again, other = (build(seed).get_weights() for seed in (1, 1, 2))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.allclose(first[0], other[0])


def test_batch_norm_uses_the_batch_in_training_alone():
    model = build()
    latents, targets = inputs()
    for training in (True, False):
        few = model([latents[:4], targets[:4]], training=training)
        together = model([latents, targets], training=training)
        assert np.allclose(few, together[:4], atol=1e-5) != training


@pytest.mark.parametrize(
    "precision, images", [("float64", "float64"), ("bfloat16", "float32")]
)
def test_precision(precision, images):
    model = build(precision=precision)
    assert {v.dtype for v in model.variables} == {images}
    assert model.output.dtype == images
    others = {
        layer.compute_dtype
        for layer in model.layers
        if not type(layer).__name__.startswith(("WeightNorm", "InputLayer"))
    }
    assert others == {images}


def test_bfloat16_is_close():
    close = generate(build(precision="bfloat16"))
    images = generate(build())
    assert 0 < np.abs(close - images).max() < 0.1


@pytest.mark.parametrize("image_shape", [(7, 10, 2), (5, 9, 2), (6, 12, 2)])
def test_sides_that_do_not_divide_by_four_are_cropped(image_shape):
    """The middle of what is generated for sides that do, 8x12."""
    height, width, _ = image_shape
    top, left = (8 - height) // 2, (12 - width) // 2
    cropped = generate(build(image_shape=image_shape))
    expected = generate(build())[:, top : top + height, left : left + width]
    np.testing.assert_array_equal(cropped, expected)
