"""Libraries that the outer step is written out in, by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> a function that builds a `step.Step`; its library has to be installed.
LIBRARIES = Registry(
    {
        "tensorflow": "gtn_tf.plain.tensorflow_step:build",
        "jax": "gtn_tf.plain.jax_step:build",
        "torch": "gtn_tf.plain.torch_step:build",
    }
)
