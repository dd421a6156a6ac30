"""Search spaces by name."""

from __future__ import annotations

from gtn_tf.registry import Registry

# Name -> subclass of `base.SearchSpace`.
SPACES = Registry(
    {
        "nao": "nas.spaces.nao_space:NaoSpace",
        "nasbench201": "nas.spaces.nasbench201_space:NasBench201Space",
        "darts": "nas.spaces.darts_space:DartsSpace",
    }
)
