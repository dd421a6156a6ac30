"""The estimate of what the way back keeps."""

import keras
import pytest

from gtn_tf import memory


class Halves(keras.layers.Layer):
    """A layer with two outputs."""

    def call(self, inputs):
        return keras.ops.split(inputs, 2, axis=-1)


def two_outputs() -> keras.Model:
    """3x2x1 images: 6 numbers, flattened, then 4 and 5, then 2 and 2."""
    images = keras.Input((3, 2, 1))
    features = keras.layers.Flatten()(images)
    first, second = (keras.layers.Dense(units)(features) for units in (4, 5))
    return keras.Model(images, [second, *Halves()(first)])


def one_output() -> keras.Model:
    images = keras.Input((4, 4, 1))  # 16
    features = keras.layers.Conv2D(3, 3, strides=2, padding="same")(images)  # 12
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(features))  # 3


@pytest.mark.parametrize(
    "models, numbers",
    [
        ([two_outputs], 6 + 6 + 4 + 5 + 2 + 2),
        ([one_output], 16 + 12 + 3),
        ([two_outputs, one_output], 25 + 31),
    ],
)
def test_bytes_of_counted_outputs(models, numbers):
    built = [build() for build in models]
    for batch_size in (1, 100):
        expected = numbers * batch_size * 4 * 1.35
        assert memory.activation_bytes(built, batch_size) == int(expected)


@pytest.mark.parametrize(
    "bytes_per_step, num_inner_steps, expected",
    [
        (2**30, 1, False),
        (2**30 + 1, 1, True),
        (2**20, 1024, False),
        (2**20, 1025, True),
        (1, 10, False),
    ],
)
def test_up_to_one_gibibyte_is_kept(bytes_per_step, num_inner_steps, expected):
    assert memory.should_recompute(bytes_per_step, num_inner_steps) is expected
