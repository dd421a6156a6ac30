"""The page's charts, as Vega-Lite. Colors are variables of the page's style sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair

from nas.reporting.comparisons import A2C, BOTH, PROXY, REAL, TEACHER

COLORS = {
    TEACHER: "var(--teacher)",
    REAL: "var(--real)",
    A2C: "var(--real)",
    PROXY: "var(--proxy)",
    BOTH: "var(--both)",
}
# Charts measure their labels with it, so that it has to be the one they are shown in.
_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
_SHAPES = {
    TEACHER: "circle",
    REAL: "square",
    A2C: "square",
    PROXY: "diamond",
    BOTH: "triangle-up",
}
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_HEIGHT, _ROW = 260, 24  # pixels of a chart, and of a row in a chart of rows

Rows = list[dict[str, Any]]


def curves(rows: Rows, x: str, y: str, percent: bool, is_log: bool = False) -> dict:
    """Lines with bands over a number of steps.

    Args:
      rows: of source, line, x, y, low and high; low and high are None without a band.
      x, y: titles of the axes.
      percent: y is a fraction that is shown in percent.
    """
    spec = ".1%" if percent else ".4g"
    across = altair.X("x:Q", title=x, axis=_integer_axis())
    kind = altair.Scale(type="log", nice=False) if is_log else altair.Scale(zero=False)
    axis = altair.Axis(format="%") if percent else altair.Axis()
    up = altair.Y("y:Q", title=y, scale=kind, axis=axis)
    lines = list(dict.fromkeys(row["line"] for row in rows))
    dash = (
        altair.StrokeDash(
            "line:N", title=None, scale=_scale(lines, list(_DASHES)), legend=_legend()
        )
        if len(lines) > len({row["source"] for row in rows})
        else altair.Detail("line:N")
    )
    tips = [
        _tip("line:N", "line"),
        _tip("x:Q", x, "d"),
        *(_tip(f"{name}:Q", name, spec) for name in ("y", "low", "high")),
    ]
    base = altair.Chart(_data(rows)).encode(across, _color(rows), dash, tooltip=tips)
    band = base.mark_area(opacity=0.2).encode(altair.Y("low:Q"), altair.Y2("high:Q"))
    point = altair.OverlayMarkDef(size=30, filled=True)
    line = base.mark_line(point=point, strokeWidth=2).encode(up)
    has_band = any(row["low"] is not None for row in rows)
    return _finished(altair.layer(band, line) if has_band else line, _HEIGHT)


def intervals(
    rows: Rows, x: str, percent: bool, marks: Sequence[tuple[float, str]] = ()
) -> dict:
    """A row for each label: values with their intervals.

    Args:
      rows: of label, source, value, low and high.
      x: title of the axis.
      marks: values at which a line stands, each with what it is.
    """
    spec = ".1%" if percent else ".2f"
    axis = altair.Axis(tickCount=6, **({"format": "%"} if percent else {}))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    per_label = len(rows) > len(labels)
    base = altair.Chart(_data(rows)).encode(
        altair.Y("label:N", title=None, sort=labels, axis=_label_axis()),
        _color(rows),
        tooltip=[
            _tip("label:N", "of"),
            _tip("source:N", "source"),
            *(_tip(f"{name}:Q", name, spec) for name in ("value", "low", "high")),
        ],
        **({"yOffset": altair.YOffset("source:N", sort=sources)} if per_label else {}),
    )
    across = altair.X("low:Q", title=x, axis=axis, scale=altair.Scale(zero=False))
    rule = base.mark_rule(strokeWidth=2).encode(across, altair.X2("high:Q"))
    point = base.mark_point(filled=True, size=70, opacity=1).encode(
        altair.X("value:Q"), _shape(rows)
    )
    lines = [
        altair.Chart(_data([{"at": at, "what": what}]))
        .mark_rule(strokeDash=[4, 3], color="var(--muted)")
        .encode(altair.X("at:Q"), tooltip=[_tip("what:N", "line")])
        for at, what in marks
    ]
    step = _ROW * (len(sources) if per_label else 1)
    height = step * len(labels) + 10
    return _finished(altair.layer(*lines, rule, point), height)


def choice(rows: Rows, judges: dict[str, str], y: str, is_percent: bool) -> dict:
    """A point for each architecture, by a judge that the reader chooses.

    Args:
      rows: of architecture, truth, and a score under each judge's name.
      judges: name -> source; the first is shown until another is chosen.
      y: what the reference is.
      is_percent: the reference is in percent, not a fraction.
    """
    values = [
        {"architecture": row["architecture"], "truth": row["truth"]}
        | {str(place): row[judge] for place, judge in enumerate(judges)}
        for row in rows
    ]
    spec = ".2f" if is_percent else ".1%"
    axis = altair.Axis() if is_percent else altair.Axis(format="%")
    sources = list(judges.values())
    points = (
        altair.Chart(_data(values))
        .transform_calculate(
            score="datum[toString(judge)]", source=f"{json.dumps(sources)}[judge]"
        )
        .transform_filter("isValid(datum.score)")
        .mark_point(filled=True, size=45, opacity=0.75)
        .encode(
            altair.X(
                "score:Q",
                title="score",
                scale=altair.Scale(zero=False),
                axis=altair.Axis(tickCount=6),
            ),
            altair.Y("truth:Q", title=y, scale=altair.Scale(zero=False), axis=axis),
            _color([{"source": source} for source in sources], legend=False),
            tooltip=[
                _tip("architecture:N", "architecture"),
                _tip("score:Q", "score", ".4g"),
                _tip("truth:Q", y, spec),
            ],
        )
        .add_params(_selection(list(judges), 0))
    )
    return _finished(points, 340)


def gains(rows: Rows, judges: list[str], best: float) -> dict:
    """What searches by one judge, and by one that the reader chooses, have found.

    Args:
      rows: of judge (its place), source, seconds, mean, low and high.
      judges: the first always stays.
      best: accuracy of the best that could be found, in percent.
    """
    kept = altair.Chart(_data(rows)).transform_filter(
        "datum.judge == 0 || datum.judge == judge"
    )
    tips = [
        _tip("name:N", "judge"),
        _tip("seconds:Q", "seconds", ".3g"),
        *(_tip(f"{name}:Q", name, ".2f") for name in ("mean", "low", "high")),
    ]
    scale = altair.Scale(type="log", nice=False)
    base = kept.encode(
        altair.X(
            "seconds:Q",
            title="seconds of search",
            scale=scale,
            axis=altair.Axis(tickCount=6),
        ),
        _color(rows),
        altair.Detail("name:N"),
        tooltip=tips,
    )
    band = base.mark_area(opacity=0.15, interpolate="step-after").encode(
        altair.Y("low:Q", scale=altair.Scale(zero=False)), altair.Y2("high:Q")
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        altair.Y("mean:Q", title="true accuracy of the choice, %")
    )
    top = (
        altair.Chart(_data([{"at": best, "what": "best in the file"}]))
        .mark_rule(strokeDash=[4, 3], color="var(--muted)")
        .encode(altair.Y("at:Q"), tooltip=[_tip("what:N", "line")])
    )
    return _finished(
        altair.layer(top, band, line).add_params(_selection(judges, 1)), 320
    )


def seconds(rows: Rows) -> dict:
    """Bars on a logarithmic axis: rows of label, source and seconds."""
    labels = [row["label"] for row in rows]
    bars = (
        altair.Chart(_data(rows))
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            altair.X(
                "seconds:Q",
                title="seconds for an architecture",
                scale=altair.Scale(type="log"),
            ),
            altair.Y("label:N", title=None, sort=labels, axis=_label_axis()),
            _color(rows),
            _shape(rows),
            tooltip=[
                _tip("label:N", "judge"),
                _tip("seconds:Q", "seconds", ".3g"),
            ],
        )
    )
    return _finished(bars, _ROW * len(labels) + 10)


def _selection(judges: list[str], first: int) -> altair.Parameter:
    """Which judge is shown, by its place: a list below the chart."""
    places = list(range(len(judges)))
    value = places[min(first, len(places) - 1)]
    if len(places) == 1:  # there is nothing to choose
        return altair.param(name="judge", value=value)
    bind = altair.binding_select(options=places, labels=judges, name="Judge: ")
    return altair.param(name="judge", value=value, bind=bind)


def _data(rows: Rows) -> altair.InlineData:
    return altair.InlineData(values=rows)


def _tip(field: str, title: str, spec: str = "") -> altair.Tooltip:
    return altair.Tooltip(field, title=title, **({"format": spec} if spec else {}))


def _integer_axis() -> altair.Axis:
    return altair.Axis(format="d", tickMinStep=1, tickCount=8, grid=False)


def _label_axis() -> altair.Axis:
    return altair.Axis(labelLimit=190, ticks=False, domain=False, labelPadding=6)


def _scale(domain: list[str], values: list) -> altair.Scale:
    return altair.Scale(domain=domain, range=values[: len(domain)])


def _sources(rows: Rows) -> list[str]:
    there = {row["source"] for row in rows}
    return [source for source in COLORS if source in there]


def _legend() -> altair.Legend:
    return altair.Legend(
        orient="bottom",
        direction="vertical",
        labelLimit=280,
        symbolSize=400,
        symbolStrokeColor="var(--ink)",
        symbolType="stroke",
    )


def _color(rows: Rows, legend: bool = True) -> altair.Color:
    """A source's color; the legend is left out where there is one source."""
    found = _sources(rows)
    is_shown = legend and len(found) > 1
    return altair.Color(
        "source:N",
        title=None,
        scale=_scale(found, [COLORS[source] for source in found]),
        legend=altair.Legend(orient="bottom", columns=2) if is_shown else None,
    )


def _shape(rows: Rows) -> altair.Shape:
    found = _sources(rows)
    scale = _scale(found, [_SHAPES[source] for source in found])
    legend = altair.Legend(orient="bottom", columns=2) if len(found) > 1 else None
    return altair.Shape("source:N", title=None, scale=scale, legend=legend)


def _finished(chart: altair.TopLevelMixin, height: int) -> dict:
    """The specification of a chart as wide as its place in the page."""
    fit = altair.AutoSizeParams(type="fit-x", contains="padding")
    return (
        chart.properties(width="container", height=height, autosize=fit)
        .configure(background="transparent", font=_FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="var(--ink)",
            titleColor="var(--ink)",
            titleFontWeight="normal",
            gridColor="var(--line)",
            domainColor="var(--muted)",
            tickColor="var(--muted)",
            labelFontSize=12,
            titleFontSize=12,
        )
        .configure_legend(labelColor="var(--ink)", labelFontSize=12)
        .to_dict()
    )
