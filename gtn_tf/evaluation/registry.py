"""Measures by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> `measures.Setting` -> `measures.Parts`.
MEASURES = Registry(
    {
        name: f"gtn_tf.evaluation.measures:{name}"
        for name in (
            *("inner_steps", "architectures", "stock_models", "ensembles"),
            *("batch_sizes", "more_steps"),
        )
    }
)
