"""The generator G(z, y) -> x: of images (Appendix A.1), and of vectors (Appendix H).

G(z) -> x, y makes the labels as well (Appendix F).
"""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from gtn_tf.networks import layers, learners, stateless, upsampling


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Shapes and options of a generator.

    Attributes:
      latent_size: numbers in z (Tables 2 and 3: 128).
      num_classes: K; y is a distribution over them.
      image_shape: (H, W, C), or (S,) for vectors of S numbers.
      widths: units of the first dense layer, channels after the second, filters of
        the first convolution (A.1: 1024, 128, 64); for vectors, units of three.
      output_scale: the tanh is multiplied by this (the paper's text: 1).
      weight_norm: normalize the generator's weights as well as the learner's
        (section 2).
      precision: "float32", "bfloat16" (products only), or "float64" (for checks).
      makes_labels: y is made with the image, not given.
      num_values: of vectors, numbers without tanh that are generated with each.
    """

    latent_size: int
    num_classes: int
    image_shape: tuple[int, ...]
    widths: tuple[int, int, int] = (1024, 128, 64)
    output_scale: float = 1.0
    weight_norm: bool = True
    precision: str = "float32"
    makes_labels: bool = False
    num_values: int = 0


def build_generator(spec: GeneratorSpec, seed: int) -> keras.Model:
    """G: latents [B, latent_size], targets [B, K] -> images [B, H, W, C].

    Two dense layers (1024 and 128 * H/4 * W/4 units), then twice nearest-neighbor
    upsampling and a 3x3 convolution (64 filters, then C with tanh); batch norm and
    LeakyReLU in between (A.1). For sides that are not divisible by 4, larger images are
    generated and cropped. Called with training=True, as in meta-training, batch norm
    uses the batch's own statistics; otherwise those of its weights.

    For vectors, all layers are dense, three of them hidden: [B, S], or with further
    values [B, S + num_values].

    Where it makes labels, latents -> images, targets: a softmax over a dense layer that
    stands beside the second.
    """
    dtype = learners.layer_dtypes(spec.precision)[1]
    inputs, features = _inputs(spec, dtype)
    features = _hidden_dense(spec, spec.widths[0], features)
    labels = [_labels(spec, features)] if spec.makes_labels else []
    last = _image_layers if len(spec.image_shape) == 3 else _vector_layers
    outputs = last(spec, features)
    size = spec.image_shape[-1]  # of a vector; all channels of an image
    images = outputs[:, :size] if spec.num_values else outputs
    images = keras.layers.Activation("tanh", dtype=dtype)(images)
    images = keras.layers.Rescaling(spec.output_scale, dtype=dtype)(images)
    if spec.num_values:
        pair = [images, outputs[:, size:]]
        images = keras.layers.Concatenate(dtype=dtype)(pair)
    made = [images, *labels] if labels else images
    model = keras.Model(inputs, made, name="generator")
    stateless_model = stateless.StatelessModel(model)
    return stateless_model.assign(*stateless_model.init(tf.constant([seed, 0])))


def _inputs(spec: GeneratorSpec, dtype):
    """The generator's inputs, and what its first layer takes."""
    latents = keras.Input((spec.latent_size,), dtype=dtype, name="latents")
    if spec.makes_labels:
        return [latents], latents
    targets = keras.Input((spec.num_classes,), dtype=dtype, name="targets")
    return [latents, targets], keras.layers.Concatenate(dtype=dtype)([latents, targets])


def _labels(spec: GeneratorSpec, features):
    """Targets [B, K] that are made with the images."""
    product, dtype = learners.layer_dtypes(spec.precision)
    scores = layers.dense(spec.num_classes, spec.weight_norm, product)(features)
    return keras.layers.Softmax(dtype=dtype)(scores)


def _hidden(spec: GeneratorSpec, layer, features):
    """A layer without bias, batch norm, LeakyReLU."""
    dtype = learners.layer_dtypes(spec.precision)[1]
    features = layers.BatchNorm(dtype=dtype)(layer(features))
    return layers.activation(dtype)(features)


def _hidden_dense(spec: GeneratorSpec, units: int, features):
    product, _ = learners.layer_dtypes(spec.precision)
    layer = layers.dense(units, spec.weight_norm, product, use_bias=False)
    return _hidden(spec, layer, features)


def _image_layers(spec: GeneratorSpec, features):
    """From the first layer's features [B, F] to images [B, H, W, C] before the tanh."""
    height, width, channels = spec.image_shape
    rows, columns = -(-height // 4), -(-width // 4)
    _, base_channels, filters = spec.widths
    product, dtype = learners.layer_dtypes(spec.precision)
    features = _hidden_dense(spec, base_channels * rows * columns, features)
    features = keras.layers.Reshape((rows, columns, base_channels), dtype=dtype)(
        features
    )
    convolution = layers.convolution(filters, spec.weight_norm, product, use_bias=False)
    features = keras.layers.UpSampling2D(2, dtype=dtype)(features)
    features = _hidden(spec, convolution, features)
    last = upsampling.upsampled_convolution(channels, spec.weight_norm, product)
    return _cropped(last(features), (height, width), dtype)


def _vector_layers(spec: GeneratorSpec, features):
    """From the first layer's features to vectors and values, before the tanh."""
    product, _ = learners.layer_dtypes(spec.precision)
    for units in spec.widths[1:]:
        features = _hidden_dense(spec, units, features)
    size = spec.image_shape[0] + spec.num_values
    return layers.dense(size, spec.weight_norm, product)(features)


def _cropped(images, size: tuple[int, int], dtype):
    """The middle of images that are as large or larger."""
    rest = [side - wanted for side, wanted in zip(images.shape[1:3], size, strict=True)]
    if not any(rest):
        return images
    cropping = [(extra // 2, extra - extra // 2) for extra in rest]
    return keras.layers.Cropping2D(cropping, dtype=dtype)(images)
