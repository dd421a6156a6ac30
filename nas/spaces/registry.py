"""Search spaces by name."""

from __future__ import annotations

from nas.spaces.base import SearchSpace
from nas.spaces.darts_space import DartsSpace
from nas.spaces.nao_space import NaoSpace
from nas.spaces.nasbench201_space import NasBench201Space

SPACES: dict[str, type[SearchSpace]] = {
    space.name: space for space in (NaoSpace, NasBench201Space, DartsSpace)
}
