"""NAO's networks under their public name; see `nas.spaces.nao_network`."""

from nas.spaces.nao_network import build_network

__all__ = ["build_network"]
