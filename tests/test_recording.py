"""What TensorBoard finds in a run's folder."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from gtn_tf.meta.inner_optimizers import InnerHyperparameters
from gtn_tf.meta.outer_loop import Progress, StepResult
from gtn_tf.runs.recording import Summaries, write_test_accuracy

GRID = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def read(folder):
    """tag -> [(step, value), ...] of all event files of a folder."""
    assert len(list(folder.glob("events.out.tfevents.*"))) >= 1
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [
            (event.step, tf.make_ndarray(event.tensor_proto))
            for event in accumulator.Tensors(tag)
        ]
        for tag in accumulator.Tags()["tensors"]
    }


def scalars(events):
    """[(step, value), ...], compared with the precision of float32."""
    return [(step, pytest.approx(float(value), rel=1e-6)) for step, value in events]


def hyperparameters(per_step=True, momentum=0.25, num_steps=3):
    values = InnerHyperparameters(
        {"learning_rate": 0.5, "momentum": momentum}, num_steps, per_step
    )
    if per_step:
        values.variables[0].assign(np.log([0.5, 0.2, 0.1])[:num_steps])
    return values


def test_scalars_of_each_step(tmp_path):
    summaries = Summaries(tmp_path, {})
    summaries.step(Progress(1, 0.5), StepResult(2.5, 1.5, 0.25))
    summaries.step(Progress(2, 1.0), StepResult(2.25, 1.25, 8.0))
    summaries.validation(Progress(2, 1.0), 0.75, hyperparameters(), GRID)
    events = read(tmp_path)
    assert scalars(events["meta_loss"]) == [(1, 2.5), (2, 2.25)]
    assert scalars(events["intermediate_loss"]) == [(1, 1.5), (2, 1.25)]
    assert scalars(events["gradient_norm"]) == [(1, 0.25), (2, 8.0)]
    assert scalars(events["few_step_accuracy/validation"]) == [(2, 0.75)]


@pytest.mark.parametrize(
    "learned, expected",
    [
        (
            hyperparameters(),
            {
                "inner_learning_rate/step_001": 0.5,
                "inner_learning_rate/step_002": 0.2,
                "inner_learning_rate/step_003": 0.1,
                "inner_momentum/step_001": 0.25,
                "inner_momentum/step_002": 0.25,
                "inner_momentum/step_003": 0.25,
            },
        ),
        (
            hyperparameters(per_step=False),
            {"inner_learning_rate/step_001": 0.5, "inner_momentum/step_001": 0.25},
        ),
        # What is held at zero is not learned.
        (
            hyperparameters(per_step=False, momentum=0),
            {"inner_learning_rate/step_001": 0.5},
        ),
    ],
)
def test_learned_rates_and_momenta(tmp_path, learned, expected):
    Summaries(tmp_path, {}).validation(Progress(7, 1.0), 0.5, learned, GRID)
    events = read(tmp_path)
    found = {tag: scalars(events[tag]) for tag in events if tag.startswith("inner_")}
    assert found == {tag: [(7, value)] for tag, value in expected.items()}


def test_all_steps_of_a_learned_value_are_one_chart(tmp_path):
    summaries = Summaries(tmp_path, {})
    for step in (1, 2):
        summaries.validation(Progress(step, 1.0), 0.5, hyperparameters(), GRID)
    events = read(tmp_path)
    [(_, serialized)] = events["custom_scalars__config__"]
    [category] = layout_pb2.Layout.FromString(serialized.item()).category
    tags = [tag for tag in events if tag.startswith("inner_")]
    shown = [
        [tag for tag in tags if re.fullmatch(chart.multiline.tag[0], tag)]
        for chart in category.chart
    ]
    titles = [chart.title for chart in category.chart]
    assert titles == ["inner learning rate", "inner momentum"]
    assert [len(own) for own in shown] == [3, 3]
    assert sum(shown, []) == tags


def test_flags_and_test_accuracy_are_there_to_compare_runs_by(tmp_path):
    flags = {"teacher": "gtn", "seed": 3, "outer_learning_rate": 0.25, "augment": True}
    Summaries(tmp_path, flags)
    write_test_accuracy(tmp_path, Progress(9, 1.0), 0.75)
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    assert scalars(read(tmp_path)["few_step_accuracy/test"]) == [(9, 0.75)]
    content = accumulator.SummaryMetadata("_hparams_/session_start_info")
    told = plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content)
    found = told.session_start_info.hparams
    assert set(found) == set(flags)
    assert found["teacher"].string_value == "gtn"
    assert found["seed"].number_value == 3
    assert found["outer_learning_rate"].number_value == 0.25
    assert found["augment"].bool_value is True
    trial = f"{tmp_path.parent.name}/{tmp_path.name}"
    assert told.session_start_info.group_name == trial


def test_curriculum_is_an_image_and_a_file(tmp_path):
    summaries = Summaries(tmp_path, {})
    summaries.validation(Progress(50, 1.0), 0.5, hyperparameters(), GRID)
    summaries.validation(Progress(1234567, 2.0), 0.5, hyperparameters(), 255 - GRID)
    paths = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert paths == ["outer_step_000050.png", "outer_step_1234567.png"]
    for name, expected in zip(paths, (GRID, 255 - GRID), strict=True):
        content = tf.io.read_file(str(tmp_path / "samples" / name))
        np.testing.assert_array_equal(tf.io.decode_png(content), expected)

    images = read(tmp_path)["curriculum"]
    assert [step for step, _ in images] == [50, 1234567]
    for (_, (width, height, png)), expected in zip(
        images, (GRID, 255 - GRID), strict=True
    ):
        assert (int(width), int(height)) == (9, 6)
        np.testing.assert_array_equal(tf.io.decode_png(png), expected)


def test_a_continued_run_adds_to_the_folder(tmp_path):
    for step in (1, 2):
        summaries = Summaries(tmp_path, {})
        summaries.step(Progress(step, 0.5), StepResult(float(step), 0.0, 1.0))
        summaries.validation(Progress(step, 1.0), 0.5, hyperparameters(), GRID)
    assert scalars(read(tmp_path)["meta_loss"]) == [(1, 1.0), (2, 2.0)]
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch):
    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "{{node x}} events; full")

    monkeypatch.setattr(tf.summary, "scalar", full)
    with pytest.raises(OSError, match="^events; full$"):
        Summaries(tmp_path, {}).step(Progress(1, 1.0), StepResult(*[1.0] * 3))
