"""NAO's search space under its public name; see `nas.spaces.nao`."""

from nas.spaces.nao import decode, encode

__all__ = ["decode", "encode"]
