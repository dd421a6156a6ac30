"""Search spaces by name."""

from __future__ import annotations

from nas.spaces.base import SearchSpace
from nas.spaces.nao_space import NaoSpace

SPACES: dict[str, type[SearchSpace]] = {space.name: space for space in (NaoSpace,)}
