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

# What is measured of the images themselves, not of those who learn from them. Name ->
# (new folder, x [T, B, H, W, C], targets [T, B, K], data set): writes table.md and more
IMAGE_MEASURES = Registry({"realism": "gtn_tf.evaluation.realism_report:write"})
