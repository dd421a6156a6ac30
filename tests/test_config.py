"""The configuration: what it refuses, how it is written and read, the flagfiles."""

import dataclasses
import math
import pathlib
import sys

import pytest
from absl import app, flags
from absl.testing import flagsaver

from gtn_tf.commands import command_line
from gtn_tf.meta.registry import OBJECTIVES
from gtn_tf.networks import learners
from gtn_tf.runs.config import TrainingConfig

FLAGFILES = pathlib.Path(__file__).resolve().parent.parent / "gtn_tf" / "flagfiles"
FIELDS = {field.name: field for field in dataclasses.fields(TrainingConfig)}

CHOICES = {
    "teacher": "gtn, closed_loop, distillation, state_actions, real",
    "curriculum": "none, all_shuffled, shuffled_batch, full",
    "labels": "hard, learned, generated",
    "normalization": "batch, center, layer, none",
    "inner_optimizer": "sgd, adam, muon",
    "objective": "classification, actor_critic, another",
    "inner_loss": "cross_entropy, mean_squared_error, learned",
    "inner_hyperparameters": "shared, per_step",
    "augment": "auto, always, never",
    "recompute": "auto, always, never",
    "precision": "float32, bfloat16, auto",
    "estimator": "backpropagation, es, pes, combined, truncated_windows",
}
RANGES = {
    "seed": (0, 2**31 - 1),
    "episode_frames": (1, 100_000),
    "num_learners": (1, 10_000),
    "learners_per_step": (1, 10_000),
    "num_inner_steps": (1, 100_000),
    "inner_batch_size": (1, 100_000),
    "inner_learning_rate": (1e-8, 100),
    "inner_decay": (1e-6, 1),
    "inner_momentum": (0, 0.9999),
    "outer_batch_size": (1, 1_000_000),
    "intermediate_loss_every": (0, 100_000),
    "num_outer_steps": (1, 10**9),
    "time_limit_seconds": (0, 1e9),
    "outer_learning_rate": (1e-8, 10),
    "outer_decay": (0, 1),
    "outer_beta_1": (0, 0.999999),
    "outer_beta_2": (0, 0.999999),
    "outer_epsilon": (1e-16, 1),
    "clip_norm": (0, 1e9),
    "adversarial_weight": (0, 1),
    "discriminator_learning_rate": (1e-8, 10),
    "max_divergences": (0, 10**6),
    "latent_size": (1, 100_000),
    "generator_output_scale": (1e-3, 1e3),
    "warm_start_steps": (0, 10**6),
    "segment_length": (0, 100_000),
    "validate_every": (1, 10**9),
    "checkpoint_every_seconds": (0, 1e9),
    "num_test_learners": (2, 10_000),
    "devices": (1, 1024),
    "es_sigma": (1e-6, 10),
    "es_pairs": (1, 100_000),
    "truncation_length": (0, 100_000),
    "window_length": (0, 100_000),
}
CHECKED_ELSEWHERE = {
    *("dataset", "data_dir", "workdir", "learner"),  # by those who use them
    "plugins",  # by who imports them
    *("weight_norm", "compare_with_real"),  # by absl: booleans
    *("generator_widths", "leave_out", "vary", "image_size"),  # below
    *("workers", "worker_index"),  # in test_replicas.py
}
MAY_CHANGE = {
    *("data_dir", "workdir", "num_outer_steps", "time_limit_seconds"),
    *("checkpoint_every_seconds", "compare_with_real", "num_test_learners"),
    *("max_divergences", "workers", "worker_index", "devices"),
}

# Every field at another value than its default, with floats that need all digits and
# text that a shell would treat specially.
OTHER = {
    "dataset": "kmnist/corrupted",
    "data_dir": "/data sets/a=b",
    "image_size": "24x32",
    "episode_frames": 77,
    "workdir": "runs/#1 'x'",
    "seed": 2**31 - 1,
    "teacher": "distillation",
    "curriculum": "all_shuffled",
    "labels": "learned",
    "learner": "mnist:64-128-256",
    "leave_out": "residual,transformer",
    "num_learners": 7,
    "vary": "activation,weight_norm",
    "weight_norm": False,
    "normalization": "center",
    "learners_per_step": 3,
    "num_inner_steps": 32,
    "inner_batch_size": 128,
    "inner_optimizer": "adam",
    "inner_loss": "mean_squared_error",
    "inner_learning_rate": 0.1 + 0.2,
    "inner_decay": 0.7,
    "inner_momentum": 1 / 3,
    "inner_hyperparameters": "shared",
    "objective": "another",
    "plugins": "colorsys,string",
    "outer_batch_size": 256,
    "intermediate_loss_every": 4,
    "augment": "never",
    "num_outer_steps": 123456789,
    "time_limit_seconds": 1e-7,
    "outer_learning_rate": 2 / 3,
    "outer_decay": 1.0,
    "outer_beta_1": 0.123456,
    "outer_beta_2": 0.9,
    "outer_epsilon": 1e-5,
    "clip_norm": 1e9,
    "adversarial_weight": 0.3,
    "discriminator_learning_rate": 2e-4,
    "latent_size": 128,
    "max_divergences": 5,
    "generator_widths": "1024-128-64",
    "generator_output_scale": 1.5,
    "warm_start_steps": 12,
    "recompute": "always",
    "segment_length": 8,
    "precision": "bfloat16",
    "validate_every": 3,
    "checkpoint_every_seconds": 0.5,
    "compare_with_real": False,
    "num_test_learners": 7,
    "workers": "a.b-c.de:8000,[::1]:65535",
    "worker_index": 1,
    "devices": 3,
    "estimator": "truncated_windows",
    "es_sigma": 0.1 + 0.2,
    "es_pairs": 3,
    "truncation_length": 7,
    "window_length": 9,
}


@pytest.fixture(autouse=True)
def another_objective(monkeypatch):
    """So that the flag has another value than its default."""
    monkeypatch.setitem(OBJECTIVES, "another", OBJECTIVES["classification"])


@pytest.fixture
def parse(monkeypatch):
    """A function: command line arguments -> the configuration they stand for."""
    app.define_help_flags()
    monkeypatch.setattr(sys, "argv", ["train"])

    def parse(*arguments):
        configs = []
        with flagsaver.flagsaver():
            code = command_line.run(
                TrainingConfig, configs.append, ["train", *arguments]
            )
        flags.FLAGS.unparse_flags()
        assert code == 0
        return configs.pop()

    return parse


def message(**values) -> str:
    with pytest.raises(ValueError) as caught:
        TrainingConfig(**values)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_every_field_is_checked():
    assert set(FIELDS) == {*CHOICES, *RANGES, *CHECKED_ELSEWHERE}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    expected = f"--{name}=some is unknown: give one of {CHOICES[name]}"
    assert message(**{name: "some"}) == expected
    # What goes with each value of the other fields.
    policies = {
        "dataset": "gym:CartPole-v1",
        "leave_out": "",
        "warm_start_steps": 0,
        "outer_batch_size": 200,
    }
    for value in CHOICES[name].split(", "):
        others = policies if value == "actor_critic" else {"teacher": "gtn"}
        taken = getattr(TrainingConfig(**others | {name: value}), name)
        # What auto stands for is the machine's; test_precision has it.
        assert taken == value or (name, value) == ("precision", "auto")


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name):
    low, high = RANGES[name]
    rooms = {
        "segment_length": {"num_inner_steps": 100_000},
        "devices": {"learners_per_step": 1024},
    }
    room = rooms.get(name, {})
    for value in (low, high):
        assert getattr(TrainingConfig(**room, **{name: value}), name) == value
    whole = FIELDS[name].type == "int"
    below = low - 1 if whole else math.nextafter(low, -math.inf)
    above = high + 1 if whole else math.nextafter(high, math.inf)
    for value in (below, above, math.nan, math.inf, -math.inf):
        text = message(**{name: value})
        start = f"--{name}={value} is out of range: give a value from "
        end = f"{low} to {high}" if whole else f"{low:g} to {high:g}"
        assert text.startswith(f"{start}{end} (")
        assert FIELDS[name].metadata["help"] in text


@pytest.mark.parametrize(
    "values, expected",
    [
        (
            {"segment_length": 11},
            "--segment_length=11 is longer than --num_inner_steps=10: give a value "
            "from 1 to 10",
        ),
        (
            {"segment_length": 2, "recompute": "never"},
            "--segment_length=2 contradicts --recompute=never: only what is "
            "recomputed has segments; drop one of the two",
        ),
        (
            {"curriculum": "all_shuffled", "teacher": "real"},
            "--curriculum=all_shuffled contradicts --teacher=real: real batches are "
            "always drawn at random; drop --curriculum",
        ),
        (
            {"curriculum": "shuffled_batch", "teacher": "real"},
            "--curriculum=shuffled_batch contradicts --teacher=real: real batches "
            "are always drawn at random; drop --curriculum",
        ),
        (
            {"curriculum": "none", "teacher": "distillation"},
            "--curriculum=none contradicts --teacher=distillation: pixels are "
            "stored, not drawn; give all_shuffled, shuffled_batch or full",
        ),
        (
            {"curriculum": "none", "teacher": "closed_loop"},
            "--curriculum=none contradicts --teacher=closed_loop: it changes latents "
            "that are stored; give all_shuffled, shuffled_batch or full",
        ),
        (
            {"estimator": "combined", "es_pairs": 1},
            "--es_pairs=1 has no variance, by which --estimator=combined weights: give "
            "2 or more",
        ),
        (
            {"estimator": "pes", "recompute": "always"},
            "--recompute=always contradicts --estimator=pes: there is no way back on "
            "which to compute activations again; drop one of the two",
        ),
        (
            {"estimator": "pes", "truncation_length": 11},
            "--truncation_length=11 is longer than --num_inner_steps=10: give a value "
            "from 1 to 10, or 0 for a fourth of them",
        ),
        (
            {"estimator": "truncated_windows", "window_length": 11},
            "--window_length=11 is longer than --num_inner_steps=10: give a value "
            "from 1 to 10, or 0 for a fourth of them",
        ),
        (
            {"estimator": "truncated_windows", "segment_length": 4},
            "--segment_length=4 is longer than the window of 3 inner steps that is "
            "differentiated: give a value from 1 to 3, or a longer --window_length",
        ),
        (
            {"labels": "generated", "teacher": "distillation"},
            "--labels=generated contradicts the teacher, Distillation: give one of "
            "hard, learned, or another --teacher",
        ),
        (
            {"labels": "learned", "teacher": "real"},
            "--labels=learned contradicts the teacher, Real: give one of hard, or "
            "another --teacher",
        ),
        (
            {"adversarial_weight": 0.5, "teacher": "real"},
            "--adversarial_weight=0.5 contradicts --teacher=real: its images are data, "
            "which nothing moves; give 0, or a teacher that learns",
        ),
        (
            {"labels": "learned", "curriculum": "none"},
            "--labels=learned contradicts --curriculum=none: learned labels are stored "
            "beside a curriculum; give all_shuffled, shuffled_batch or full, or "
            "--labels=generated",
        ),
    ],
)
def test_contradictions(values, expected):
    assert message(**values) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"segment_length": 10},
        {"segment_length": 2, "recompute": "auto"},
        {"segment_length": 1, "recompute": "never"},
        {"curriculum": "none", "teacher": "real"},
        {"curriculum": "none", "teacher": "gtn"},
        {"curriculum": "none", "labels": "generated"},
        {"labels": "learned", "teacher": "distillation"},
        {"curriculum": "shuffled_batch", "teacher": "distillation"},
        {"estimator": "pes", "truncation_length": 10},
        {"estimator": "combined", "es_pairs": 2, "recompute": "always"},
        {"estimator": "truncated_windows", "window_length": 4, "segment_length": 4},
    ],
)
def test_what_does_not_contradict(values):
    TrainingConfig(**values)


@pytest.mark.parametrize(
    "widths", ["", "64", "8-4", "8-4-2-1", "8-0-2", "8-4-", "8,4,2", "8-4--2", "08-4-2"]
)
def test_generator_widths(widths):
    assert message(generator_widths=widths) == (
        f"--generator_widths={widths} is not three positive integers joined by '-': "
        "give units-channels-filters, as in 1024-128-64"
    )


@pytest.mark.parametrize(
    "vary, expected",
    [
        ("all", ("weight_norm", "normalization", "activation", "initializer")),
        ("none", ()),
        ("activation", ("activation",)),
        ("initializer,weight_norm", ("initializer", "weight_norm")),
    ],
)
def test_what_is_varied(vary, expected):
    assert TrainingConfig(vary=vary).varied == expected
    assert TrainingConfig().varied == tuple(learners.VARIED)


@pytest.mark.parametrize(
    "vary, unknown",
    [("depth", "depth"), ("widths,activation,depth", "depth, widths"), ("All", "All")],
)
def test_what_cannot_be_varied(vary, unknown):
    assert message(vary=vary) == (
        f"--vary={vary} names {unknown}: give weight_norm, normalization, activation, "
        "initializer, all or none"
    )


@pytest.mark.parametrize("size", ["0", "3", "8x", "x8", "8x3", "8x8x3", "12345", "８"])
def test_image_sizes_that_are_none(size):
    assert message(image_size=size) == (
        f"--image_size={size} is no size: give a side from 4 to 9999 pixels, as in 32, "
        "or height and width, as in 24x32"
    )


@pytest.mark.parametrize("source", ["folder", "npz"])
def test_own_data_is_found_from_elsewhere(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    whole = f"{source}:{tmp_path}/my pets.npz"
    config = TrainingConfig(dataset=f"{source}:my pets.npz")
    assert config.dataset == whole
    assert TrainingConfig(dataset=whole).run_folder == config.run_folder
    name = {"folder": "my_pets.npz", "npz": "my_pets"}[source]
    assert config.run_folder == f"runs/{name}-gtn-{config.digest}"
    relative = TrainingConfig(dataset=f"{source}:pets", data_dir="elsewhere")
    assert relative.dataset == f"{source}:pets"


def test_families_that_are_left_out():
    assert TrainingConfig().left_out == ("cifar10", "depthwise", "transformer")
    assert TrainingConfig(leave_out="").left_out == ()
    assert TrainingConfig(leave_out="mnist").left_out == ("mnist",)
    both = TrainingConfig(leave_out="transformer,mnist")
    assert both.left_out == ("transformer", "mnist")
    assert message(leave_out="vgg,mnist,any") == (
        "--leave_out=vgg,mnist,any names any, vgg: give some of digits, mnist, "
        "cifar10, shallow, residual, depthwise, fully_connected, transformer, policy"
    )


def test_every_flag_has_a_help_text_of_sentences_in_a_group():
    for name, field in FIELDS.items():
        text = field.metadata["help"]
        assert len(text) > 5 and text == " ".join(text.split()), name
        assert text[0].isupper() and text[-1] == ".", name
        assert field.metadata["group"] != "flags", name


def test_every_field_survives_a_flagfile(parse, tmp_path):
    changed = TrainingConfig(**OTHER)
    assert OTHER.keys() == FIELDS.keys()
    for name in FIELDS:
        assert getattr(changed, name) != FIELDS[name].default, name
    for written in (TrainingConfig(), changed):
        text = written.as_flagfile()
        assert len(text.splitlines()) == len(FIELDS)
        assert TrainingConfig(**TrainingConfig.values_of(text)) == written
        path = tmp_path / "flags.txt"
        path.write_text(text)
        assert parse(f"--flagfile={path}") == written


def test_flags_on_the_command_line_have_their_types(parse):
    assert parse() == TrainingConfig()
    lines = TrainingConfig(**OTHER).as_flagfile().splitlines()
    assert dataclasses.asdict(parse(*lines)) == OTHER
    assert parse("--noweight_norm").weight_norm is False
    for name, value in dataclasses.asdict(parse()).items():
        assert type(value).__name__ == FIELDS[name].type, name


@pytest.mark.parametrize(
    "line",
    [
        "--num_steps=3",
        "--num_inner_steps=3.5",
        "--num_inner_steps=",
        "--inner_momentum=half",
        "--weight_norm=true",
        "--seed",
        "anything",
        "",
    ],
)
def test_a_line_that_is_no_flag(line):
    text = f"--seed=3\n{line}\n--latent_size=5\n"
    with pytest.raises(ValueError) as caught:
        TrainingConfig.values_of(text)
    expected = f"{line!r} is no flag of this program with a valid value"
    assert str(caught.value) == expected


def test_folder_stands_for_the_configuration():
    base = {"teacher": "distillation", "learners_per_step": 4}
    folders = {"": TrainingConfig(**base).run_folder}
    for name in FIELDS.keys() - {"workdir", "teacher"}:
        values = base | {name: OTHER[name]}
        if name == "worker_index":  # of several
            values["workers"] = OTHER["workers"]
        if name == "segment_length":  # must fit into the inner steps
            values[name] = 5
        first, second = TrainingConfig(**values), TrainingConfig(**values)
        assert first.run_folder == second.run_folder
        folders[name] = first.run_folder
    same = {name for name, folder in folders.items() if folder == folders[""]}
    assert same == {"", *MAY_CHANGE} - {"workdir"}
    different = [folder for name, folder in folders.items() if name not in same]
    assert len(set(different)) == len(different)


def test_a_whole_number_may_stand_for_a_float():
    whole, written = TrainingConfig(clip_norm=7), TrainingConfig(clip_norm=7.0)
    assert whole == written and whole.run_folder == written.run_folder
    assert whole.as_flagfile() == written.as_flagfile()


def test_default_folder_is_that_of_no_flags(parse):
    assert parse().run_folder == TrainingConfig().run_folder


def test_folder_names():
    default = TrainingConfig().run_folder
    assert default.startswith("runs/digits-gtn-") and len(default) == 24
    assert TrainingConfig(workdir="mine").run_folder == "mine"
    nested = TrainingConfig(dataset="kmnist/corrupted", teacher="real").run_folder
    assert nested.startswith("runs/kmnist_corrupted-real-")


def test_fields_that_may_change():
    fixed = TrainingConfig(**OTHER).fixed()
    assert FIELDS.keys() - fixed.keys() == MAY_CHANGE
    assert fixed == {name: OTHER[name] for name in fixed}


PAPER = {  # Tables 2 and 3, A.1 and A.2
    "mnist": {
        "dataset": "mnist",
        "num_inner_steps": 32,
        "num_outer_steps": 2000,
        "outer_batch_size": 128,
        "outer_learning_rate": 0.01,
        "outer_beta_2": 0.999,
        "outer_epsilon": 1e-8,
        "augment": "auto",  # none: for CIFAR-10 alone
    },
    "cifar10": {
        "dataset": "cifar10",
        "num_inner_steps": 128,
        "num_outer_steps": 1700,
        "outer_batch_size": 256,
        "outer_learning_rate": 0.002,
        "outer_beta_2": 0.9,
        "outer_epsilon": 1e-5,
        "augment": "always",
    },
}
PAPER_BOTH = {
    "teacher": "gtn",
    "curriculum": "full",
    "weight_norm": True,
    "normalization": "batch",
    "vary": "none",
    "leave_out": "",
    "learners_per_step": 1,
    "inner_batch_size": 128,
    "inner_optimizer": "sgd",
    "inner_learning_rate": 0.02,
    "inner_momentum": 0.5,
    "inner_hyperparameters": "shared",
    "inner_decay": 1,
    "warm_start_steps": 0,
    "intermediate_loss_every": 0,
    "outer_decay": 1,
    "outer_beta_1": 0.9,
    "clip_norm": 0,
    "latent_size": 128,
    "generator_widths": "1024-128-64",
    "generator_output_scale": 1,
}


@pytest.mark.parametrize("name", PAPER)
def test_recipes_hold_the_values_of_the_paper(parse, name):
    recipe = parse(f"--flagfile={FLAGFILES / name}.flags")
    expected = PAPER_BOTH | PAPER[name]
    assert {key: getattr(recipe, key) for key in expected} == expected


def test_every_recipe_parses_and_says_how_to_run_it(parse):
    paths = sorted(FLAGFILES.iterdir())
    assert {path.stem for path in paths} >= set(PAPER)
    for path in paths:
        assert path.suffix == ".flags"
        text = path.read_text()
        assert f"bin/train --flagfile={path.name}" in text
        recipe = parse(f"--flagfile={path}")
        specs = learners.parse(
            recipe.learner,
            recipe.num_learners,
            0,
            recipe.left_out,
            recipe.varied,
            image_shape=(28, 28, 1),
            num_classes=2,
        )
        assert specs
