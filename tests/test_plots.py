"""The paper's figures: what is drawn is what was logged."""

import csv

import matplotlib.image
import numpy as np
import pytest

from gtn_tf.evaluation import plots
from gtn_tf.runs import workdirs

ROWS = {  # (variant, seed) -> (outer step, validation accuracy)
    ("full", 0): [(5, 0.5), (10, 0.7)],
    ("full", 1): [(5, 0.3), (10, 0.9), (15, 0.8)],
    ("no norm", 0): [(5, 0.2)],
}
RECORDS = [
    {"variant": name, "seed": seed, "split": "test", "curve": [0.1, 0.2 + seed]}
    for name, seed in ROWS
]


@pytest.fixture
def folder(tmp_path):
    for (name, seed), points in ROWS.items():
        run = tmp_path / name.replace(" ", "_") / f"seed_{seed}"
        run.mkdir(parents=True)
        with (run / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["outer_step", "meta_loss", "validation_accuracy"])
            for step, accuracy in points:
                writer.writerow([step - 1, 1.0, ""])
                writer.writerow([step, 1.0, accuracy])
    return tmp_path


@pytest.fixture
def drawn(monkeypatch):
    """name -> (x values, [seeds, points]) of every line."""
    lines = {}
    draw = plots._line

    def record(axes, steps, values, name, color):
        lines[name] = (list(steps), values)
        draw(axes, steps, values, name, color)

    monkeypatch.setattr(plots, "_line", record)
    return lines


def is_picture(path) -> bool:
    pixels = matplotlib.image.imread(path)
    return pixels.ndim == 3 and len(np.unique(pixels)) > 10


def test_outer_curves_of_common_length(folder, drawn):
    curves = {"full": [], "no norm": [], "absent": []}
    for (name, seed), points in ROWS.items():
        run = folder / name.replace(" ", "_") / f"seed_{seed}"
        curves[name].append(workdirs.validations(run))
        np.testing.assert_array_equal(curves[name][-1], points)
    plots.outer_curves(folder, curves)
    assert list(drawn) == ["full", "no norm"]
    steps, values = drawn["full"]
    assert steps == [5, 10]
    np.testing.assert_array_equal(values, [[0.5, 0.7], [0.3, 0.9]])
    assert is_picture(folder / "outer_loop.png")


def test_inner_curves_count_steps_from_one(folder, drawn):
    plots.inner_curves(folder, ["full", "no norm"], RECORDS)
    steps, values = drawn["full"]
    assert steps == [1, 2]
    np.testing.assert_array_equal(values, [[0.1, 0.2], [0.1, 1.2]])
    assert is_picture(folder / "inner_loop.png")


def test_no_runs_make_no_figure(folder, drawn):
    plots.inner_curves(folder, ["full"], [])
    plots.outer_curves(folder, {"full": []})
    assert not drawn
    assert not list(folder.glob("*.png"))


def test_a_source_has_one_color_in_all_figures():
    three = ["full", "real", "none"]
    assert plots.color_of("real", three) == plots.color_of("real", ["gtn", "real"])
    colors = [plots.color_of(name, three) for name in three]
    assert len({*colors, plots.color_of("gtn", ["gtn"])}) == 4


def test_steps_are_whole_numbers():
    figure, axes = plots.new_axes("inner step", "accuracy", "A title")
    axes.set_xlim(1, 3)
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert axes.get_title() == "A title"


def test_box_plot_says_how_many_diverged(tmp_path, monkeypatch):
    figures = []
    save = plots.save
    monkeypatch.setattr(
        plots, "save", lambda f, path: (figures.append(f), save(f, path))
    )
    values = {"with": [0.5, 0.25, 1.0], "without": [2.0]}
    plots.box_plot(tmp_path / "a.png", values, {"with": 0, "without": 3})
    (axes,) = figures[0].axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["with\n(0 diverged)", "without\n(3 diverged)"]
    points = [sorted(line.get_ydata()) for line in axes.lines[-2:]]
    assert points == [[0.25, 0.5, 1.0], [2.0]]
    assert is_picture(tmp_path / "a.png")
