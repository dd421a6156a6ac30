"""A search space: which architectures there are, and each as a Keras model.

Oracles, journal and report know a space by this interface alone. A new one is a file
with a subclass of `SearchSpace` and an entry in `nas.spaces.registry`.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Hashable
from typing import Any

import keras
import keras_tuner
import numpy as np

from nas.spaces.graphs import CellGraph
from nas.spaces.operations import PLAIN, Style
from nas.spaces.regularization import Regularization
from nas.spaces.size import Size

Architecture = Hashable  # equal objects are equal architectures, written alike
Build = Callable[..., keras.Model]  # (style, regularization), both may be left out


class SearchSpace(abc.ABC):
    """What a space has to say of its architectures.

    A subclass gives the abstract methods. `sample`, `mutate` and `key` follow from
    them, and are overridden where the space has its own way; so is `graphs`, which
    draws nothing.

    Attributes:
      name: in the registry, and of the flag --space.
      has_places: whether `build` says by `keras.name_scope` where in the network
        each layer stands, so that equal operations at equal places can share weights.
      cheap_evaluations: whose ranks are averaged to stand beside a teacher where
        nobody names others; one behind a minus counts the other way round.
    """

    name: str
    has_places: bool = False
    cheap_evaluations: tuple[str, ...] = ("naswot", "synflow")

    @classmethod
    def of_search(cls, config: Any) -> SearchSpace:
        """The space of a search's configuration."""
        del config
        return cls()

    @abc.abstractmethod
    def encode(self, architecture: Architecture) -> str:
        """The architecture in one line of text, as the journal keeps it."""

    @abc.abstractmethod
    def decode(self, text: str) -> Architecture:
        """The architecture of a line; all encodings of the space are read.

        Raises:
          UserError: the line is no architecture of this space.
        """

    @abc.abstractmethod
    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space as keras-tuner knows it; any choice of values is an
        architecture."""

    @abc.abstractmethod
    def to_values(self, architecture: Architecture) -> dict[str, Any]:
        """Values of `hyperparameters`, by name."""

    @abc.abstractmethod
    def from_values(self, values: dict[str, Any]) -> Architecture:
        """The architecture of `to_values`."""

    @abc.abstractmethod
    def build(
        self,
        architecture: Architecture,
        size: Size,
        style: Style = PLAIN,
        regularization: Regularization | None = None,
    ) -> keras.Model:
        """images [B, H, W, C] -> logits [B, K].

        Args:
          style: how layers are built: weight norm, batch norm, dtype.
          regularization: what final training adds; with an auxiliary head the
            outputs are a list, the logits first.

        Raises:
          UserError: no such network can be built.
        """

    def graphs(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Its different cells, as the report draws them; none of a space without."""
        del architecture
        return ()

    def key(self, architecture: Architecture) -> str:
        """16 hexadecimal digits, the same for architectures whose networks are
        equal."""
        text = self.encode(self.canonical(architecture))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def canonical(self, architecture: Architecture) -> Architecture:
        """The representative of all architectures whose networks are equal."""
        return architecture

    def sample(self, seed: int, index: int) -> Architecture:
        """The index-th architecture of a seed, each value drawn uniformly."""
        generator = np.random.default_rng([seed, index, 0x5A3E])
        return self.from_values(
            {each.name: _draw(each, generator) for each in self.hyperparameters().space}
        )

    def mutate(self, architecture: Architecture, seed: int) -> Architecture:
        """The architecture with one value drawn again; it may fall on the same."""
        generator = np.random.default_rng([seed, 0xE702])
        values = self.to_values(architecture)
        known = {each.name: each for each in self.hyperparameters().space}
        place = str(generator.choice(sorted(values.keys() & known.keys())))
        return self.from_values(values | {place: _draw(known[place], generator)})


def _draw(hyperparameter, generator: np.random.Generator) -> Any:
    values = list(hyperparameter.values)
    return values[generator.integers(len(values))]
