"""Oracles by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> what proposes the architectures of a space.
ORACLES = Registry(
    {
        "random": "nas.search.oracles:RandomOracle",
        "evolution": "nas.search.oracles:EvolutionOracle",
        "bayesian": "nas.search.oracles:BayesianOracle",
    }
)

# Name -> keras-tuner's own, for a user's own models.
TUNER_ORACLES = Registry(
    {
        "random": "keras_tuner.oracles:RandomSearchOracle",
        "bayesian": "keras_tuner.oracles:BayesianOptimizationOracle",
    }
)
