"""The Generative Teaching Network: a generator and its latents (section 2)."""

from __future__ import annotations

import sys

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gtn_tf.networks import generators
from gtn_tf.teachers.base import Teacher, TeacherSpec, normal_variable
from gtn_tf.teachers.registry import CURRICULA, LABELS

_WARM_START_RATE = 0.01  # of Adam, falling to 0 over the steps


class GTN(Teacher):
    """x = G(z_t, y_t), with learned latents z or, without curriculum, drawn ones.

    With generated labels, x, y = G(z_t). With learned labels the generator is given the
    fixed class of each place; the learner is given the learned label.

    Attributes:
      generates_targets: whether K numbers are generated with each x.
    """

    possible_labels = LABELS
    generates_targets = False

    def __init__(self, spec: TeacherSpec, generator: keras.Model, seed: int):
        super().__init__(spec)
        self.generator = generator
        self.latent_size = generator.inputs[0].shape[-1]
        self._num_weights = len(generator.trainable_variables)
        variables = [v.value for v in generator.trainable_variables]
        if CURRICULA[spec.curriculum].order is not None:
            shape = (spec.num_inner_steps, spec.inner_batch_size, self.latent_size)
            variables.append(normal_variable(shape, spec.dtype, seed, "latents"))
            self.has_fixed_batches = True
        if spec.labels == "learned":
            variables.append(self._first_label_scores())
        self._use(variables)

    @classmethod
    def of_run(cls, spec: TeacherSpec, config, dataset) -> GTN:
        """A generator of the run's widths for the data set's images and classes."""
        generator_spec = generators.GeneratorSpec(
            latent_size=config.latent_size,
            num_classes=dataset.num_classes,
            image_shape=dataset.image_shape,
            widths=tuple(map(int, config.generator_widths.split("-"))),
            output_scale=config.generator_output_scale,
            weight_norm=config.weight_norm,
            precision=config.precision,
            makes_labels=spec.labels == "generated",
            num_values=dataset.num_classes if cls.generates_targets else 0,
        )
        generator = generators.build_generator(generator_spec, config.seed)
        return cls(spec, generator, config.seed)

    def begin_as(self, x, labels, num_steps: int) -> float:
        """Learns generator and latents: min mean (G(z_t, y_t) - x_t)^2.

        To this, generated labels add their mean cross-entropy from the images' own.
        """
        if self.latents is None:
            return super().begin_as(x, labels, num_steps)
        schedule = keras.optimizers.schedules.CosineDecay(_WARM_START_RATE, num_steps)
        optimizer = keras.optimizers.Adam(schedule)
        learned = self.variables[: self._num_weights + 1]  # labels stay as they are
        optimizer.build(learned)
        targets = tf.one_hot(labels, self.spec.num_classes)  # [T, B, K]
        num_batches = len(labels)

        @tf.function(autograph=False)
        def step(t):
            with tf.GradientTape() as tape:
                given = self.weights(), self.latents[t], targets[t]
                shown, own = self._generated(*given)
                difference = tf.reduce_mean(tf.square(shown - x[t]))
                loss = difference
                if self._makes_labels:
                    losses = keras.losses.categorical_crossentropy(targets[t], own)
                    loss += tf.reduce_mean(losses)
            gradients = map(tf.convert_to_tensor, tape.gradient(loss, learned))
            optimizer.apply(list(gradients))
            return difference

        bar = tqdm(range(num_steps), "warm start", unit="step", file=sys.stderr)
        losses = [step(tf.constant(index % num_batches)) for index in bar]
        return float(np.mean(losses[-num_batches:]))

    def _use(self, variables: list[tf.Variable]) -> None:
        self.variables = variables
        stored = iter(variables[self._num_weights :])
        self.latents = next(stored) if self.has_fixed_batches else None
        self.label_scores = next(stored) if self.spec.labels == "learned" else None

    def weights(self) -> list[tf.Tensor]:
        """The generator's trainable weights."""
        stored = self.variables[: self._num_weights]
        return [tf.cast(v, self.spec.dtype) for v in stored]

    @property
    def _makes_labels(self) -> bool:
        return self.spec.labels == "generated"

    def plan(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Latents [T, B, latent_size]; classes [T, B, K] unless labels are generated;
        learned labels [T, B, K] where there are any.

        Without curriculum z is drawn from a unit Gaussian, y uniformly (section 2).
        """
        if self.latents is not None:
            labels = [] if self._makes_labels else self._stored_labels()
            latents = tf.cast(self.latents, self.spec.dtype)
            return self._ordered(seed, latents, *labels)
        spec = self.spec
        shape = [spec.num_inner_steps, spec.inner_batch_size]
        latents_seed, labels_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        latents = tf.random.stateless_normal(
            [*shape, self.latent_size], latents_seed, dtype=spec.dtype
        )
        if self._makes_labels:
            return (latents,)
        labels = tf.random.stateless_uniform(
            shape, labels_seed, maxval=spec.num_classes, dtype=tf.int32
        )
        return latents, self._targets(labels)

    def show(self, weights, latents, *labels) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [B, H, W, C] and targets [B, K].

        Args:
          latents: [B, Z].
          labels: the rest of a step's plan, each [B, K].
        """
        return self._generated(weights, latents, *labels)

    def _generated(self, weights, latents, *labels) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and targets, as a batch is normalized."""
        made, _ = self._normalized_by_batch(weights, latents, *labels)
        return self._labeled(made, labels)

    def _labeled(self, made, labels) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and targets of what the generator has made for these labels."""
        return tuple(made) if self._makes_labels else (made, labels[-1])

    def statistics(self, seed: tf.Tensor) -> list[tf.Tensor]:
        """What `generate` normalizes with: batch norm's means and variances.

        They are those of the T batches of this seed, averaged over the batches.
        """
        plan, weights = self.plan(seed), self.weights()
        sums = [tf.zeros(v.shape, v.dtype) for v in self._unlearned]
        for t in range(self.spec.num_inner_steps):
            _, own = self._normalized_by_batch(weights, *(values[t] for values in plan))
            sums = [total + value for total, value in zip(sums, own, strict=True)]
        return [total / self.spec.num_inner_steps for total in sums]

    def generate(
        self, weights, statistics, latents, *classes
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Images [N, H, W, C] and targets [N, K], each independent of the others.

        Args:
          weights: as `weights()` gives them.
          statistics: as `statistics(seed)` gives them.
          latents: [N, Z].
          classes: [N, K], which are then the targets; nothing where labels are
            generated.
        """
        made, _ = self.generator.stateless_call(
            weights[: self._num_weights],
            statistics,
            [latents, *classes],
            training=False,
        )
        return self._labeled(made, classes)

    def _normalized_by_batch(self, weights, latents, *labels):
        """What is made, and the statistics that the batch was normalized with."""
        unread = [tf.zeros(v.shape, v.dtype) for v in self._unlearned]
        given = [latents, *labels][: len(self.generator.inputs)]
        own = weights[: self._num_weights]
        return self.generator.stateless_call(own, unread, given, training=True)

    @property
    def _unlearned(self) -> list:
        return self.generator.non_trainable_variables
