"""A cell as a drawing: its nodes and operations in layers, from input to output.

An operation is a box between the two nodes that it connects. A line that passes
several layers has a point in each, so that it goes around what stands there.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from nas.spaces.graphs import CellGraph

_ROW, _GAP, _BOX = 46, 14, 26  # between layers, between boxes, a box's height
_LETTER = 6.6  # the width of one, at the font size of the page's style sheet
_SWEEPS = 12


class _Vertex(NamedTuple):
    """A node, an operation, or a point of a line."""

    name: str
    kind: str  # "node", "operation" or "point"

    @property
    def width(self) -> float:
        return 4 if self.kind == "point" else _LETTER * len(self.name) + 16


def svg(graph: CellGraph) -> Markup:
    """The drawing, with its text alternative; colors are the style sheet's."""
    vertices, lines, layers = _layered(graph)
    places, width = _places(vertices, lines, layers)
    parts = [_path([places[v] for v in line]) for line in lines]
    parts += [
        _box(vertex, *places[number])
        for number, vertex in enumerate(vertices)
        if vertex.kind != "point"
    ]
    height = _ROW * max(layers) + _BOX + 2
    return Markup(
        '<svg class="cell" role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" '
        'style="width:{:.0f}px">{}</svg>'
    ).format(in_words(graph), width, height, width, Markup("").join(parts))


def in_words(graph: CellGraph) -> str:
    """The cell as a sentence, for those who do not see the drawing."""
    edges = (
        f"{edge.target} from {edge.source}"
        + (f" by {edge.operation}" if edge.operation else "")
        for edge in graph.edges
    )
    return f"{graph.name}: {'; '.join(edges)}"


def _layered(graph: CellGraph) -> tuple[list[_Vertex], list[list[int]], list[int]]:
    """Vertices, lines as numbers of vertices from end to end, and each vertex's layer.

    A node's layer is even, two below the lowest that it reads.
    """
    depth = _depths(graph)
    vertices = [_Vertex(name, "node") for name in depth]
    number = {name: place for place, name in enumerate(depth)}
    layers = [2 * depth[name] for name in depth]
    lines = []
    for edge in graph.edges:
        above, below = 2 * depth[edge.source], 2 * depth[edge.target]
        line = [number[edge.source]]
        for layer in range(above + 1, below):
            is_box = edge.operation and layer == below - 1
            kind = "operation" if is_box else "point"
            vertices.append(_Vertex(edge.operation if is_box else "", kind))
            layers.append(layer)
            line.append(len(vertices) - 1)
        lines.append([*line, number[edge.target]])
    return vertices, lines, layers


def _depths(graph: CellGraph) -> dict[str, int]:
    """The length of the longest way from an input to each node."""
    names = itertools.chain(*((e.source, e.target) for e in graph.edges))
    depth = dict.fromkeys(names, 0)
    for _ in depth:  # as often as the longest way could be
        for edge in graph.edges:
            depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
    return depth


def _places(vertices, lines, layers) -> tuple[list[tuple[float, float]], float]:
    """Middle of each vertex, and the width of all."""
    neighbors: list[list[int]] = [[] for _ in vertices]
    for line in lines:
        for a, b in itertools.pairwise(line):
            neighbors[a].append(b)
            neighbors[b].append(a)
    rows = [
        [v for v in range(len(vertices)) if layers[v] == layer]
        for layer in range(max(layers) + 1)
    ]
    x = np.zeros(len(vertices))
    for row in rows:
        x[row] = _spread([vertices[v].width for v in row], np.zeros(len(row)))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 else rows[::-1]:
            wanted = np.array([np.mean(x[neighbors[v]]) for v in row])
            order = np.argsort(wanted, kind="stable")
            row[:] = [row[place] for place in order]
            x[row] = _spread([vertices[v].width for v in row], wanted[order])
    half = np.array([vertex.width / 2 for vertex in vertices])
    left, right = (x - half).min() - 1, (x + half).max() + 1
    y = _ROW * np.array(layers) + _BOX / 2 + 1
    return list(zip(x - left, y, strict=True)), float(right - left)


def _spread(widths: list[float], wanted: np.ndarray) -> np.ndarray:
    """Places in this order, without overlap, the mean error of those wanted 0."""
    steps = [(a + b) / 2 + _GAP for a, b in itertools.pairwise(widths)]
    least = np.concatenate([[0.0], np.cumsum(steps)])
    # Pushed apart to the right: x_i - least_i never falls.
    x = least + np.maximum.accumulate(wanted - least)
    return x + np.mean(wanted - x)


def _path(points: list[tuple[float, float]]) -> Markup:
    """A smooth line, vertical at each point."""
    (x, y), *rest = points
    text = f"M{x:.1f} {y:.1f}"
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        text += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return Markup('<path d="{}"/>').format(text)


def _box(vertex: _Vertex, x: float, y: float) -> Markup:
    return Markup(
        '<g class="{}"><rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" '
        'rx="{}"/><text x="{:.1f}" y="{:.1f}">{}</text></g>'
    ).format(
        f"{vertex.kind} {'zero' if vertex.name == 'none' else ''}".strip(),
        x - vertex.width / 2,
        y - _BOX / 2,
        vertex.width,
        _BOX,
        _BOX / 2 if vertex.kind == "node" else 4,
        x,
        y,
        escape(vertex.name),
    )
