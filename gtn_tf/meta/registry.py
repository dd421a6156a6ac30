"""Inner optimizers, inner losses, objectives and estimators by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> `inner_optimizers.InnerOptimizer`.
INNER_OPTIMIZERS = Registry(
    {
        "sgd": "gtn_tf.meta.inner_optimizers:SGD",
        "adam": "gtn_tf.meta.inner_optimizers:ADAM",
        "muon": "gtn_tf.meta.inner_optimizers:MUON",
    }
)

# Name -> class of `inner_losses.InnerLoss`.
INNER_LOSSES = Registry(
    {
        "cross_entropy": "gtn_tf.meta.inner_losses:CrossEntropy",
        "mean_squared_error": "gtn_tf.meta.inner_losses:MeanSquaredError",
        "learned": "gtn_tf.meta.inner_losses:LearnedLoss",
    }
)

# Name -> class of `objectives.Objective`.
OBJECTIVES = Registry(
    {
        "classification": "gtn_tf.meta.objectives:Classification",
        "actor_critic": "gtn_tf.meta.actor_critic:ActorCritic",
    }
)

# Name -> class of `estimators.Estimator`.
ESTIMATORS = Registry(
    {
        "backpropagation": "gtn_tf.meta.estimators:Backpropagation",
        "es": "gtn_tf.meta.evolution:EvolutionStrategies",
        "pes": "gtn_tf.meta.evolution:PersistentEvolutionStrategies",
        "combined": "gtn_tf.meta.combined:CombinedEstimator",
        "truncated_windows": "gtn_tf.meta.truncated_windows:TruncatedWindows",
    }
)
