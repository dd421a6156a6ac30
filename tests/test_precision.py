"""What --precision=auto stands for."""

import dataclasses

import pytest
import tensorflow as tf

from gtn_tf.runs import precision
from gtn_tf.runs.config import TrainingConfig


@pytest.mark.parametrize(
    ("text", "multiplies"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 fma\n", True),
        ("flags : amx_tile amx_bf16\n", True),
        ("flags : fpu avx2 avx512f avx512bw\n", False),
        ("bugs : avx512_bf16\n", False),
        ("", False),
    ],
)
def test_processors(tmp_path, text, multiplies):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert precision._cpu_multiplies(path) == multiplies
    assert not precision._cpu_multiplies(tmp_path / "none")


@pytest.mark.parametrize(
    ("capabilities", "multiplies"),
    [([], False), ([(7, 5)], False), ([(8, 0), (9, 0)], True), ([(8, 6), None], False)],
)
def test_gpus(monkeypatch, capabilities, multiplies):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda found: {"compute_capability": found} if found else {},
    )
    assert precision._gpu_multiplies() == multiplies


def test_auto_is_settled_when_a_run_is_asked_for(monkeypatch, tmp_path):
    """So that a folder goes on with the precision that it began with."""
    monkeypatch.setattr(precision, "_cpu_multiplies", lambda: True)
    assert TrainingConfig(precision="float32").precision == "float32"
    config = TrainingConfig(precision="auto", workdir=str(tmp_path))
    assert config.precision == "bfloat16"
    assert config == dataclasses.replace(config, precision="bfloat16")
    assert "--precision=bfloat16" in config.as_flagfile()
    monkeypatch.setattr(precision, "_cpu_multiplies", lambda: False)
    monkeypatch.setattr(precision, "_gpu_multiplies", lambda: False)
    assert TrainingConfig(precision="auto").precision == "float32"
