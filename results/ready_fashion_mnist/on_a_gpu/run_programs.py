"""Meta-trains by what export_programs.py has written: run_programs.py FOLDER.

It needs JAX 0.11, numpy, and no TensorFlow. FOLDER/trained.npz has the variables and
FOLDER/metrics.jsonl a line for each outer step. Each program is compiled in a process
of its own, at the same time.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lib import xla_client
from jaxlib import _jax


def compile_program(folder: Path, index: int) -> None:
    """Writes FOLDER/gradient_INDEX.bin."""
    device = jax.devices()[0]
    computation = _jax.mlir.hlo_to_stablehlo(
        (folder / f"gradient_{index}.hlo").read_bytes()
    )
    executable = device.client.compile_and_load(
        computation, _jax.DeviceList((device,)), xla_client.CompileOptions()
    )
    content = device.client.serialize_executable(executable)
    (folder / f"gradient_{index}.bin").write_bytes(content)


def compile_all(folder: Path, count: int) -> None:
    """Compiles those programs that have not been."""
    missing = [i for i in range(count) if not (folder / f"gradient_{i}.bin").exists()]
    command = [sys.executable, __file__, str(folder)]
    started = [subprocess.Popen([*command, str(index)]) for index in missing]
    if any([process.wait() for process in started]):
        sys.exit("a program was not compiled, for the reason above")


def load(folder: Path, index: int):
    """variables, x, labels, seed -> losses and norm, gradients."""
    device = jax.devices()[0]
    executable = device.client.deserialize_executable(
        (folder / f"gradient_{index}.bin").read_bytes(),
        _jax.DeviceList((device,)),
        xla_client.CompileOptions(),
    )
    others = [
        jnp.asarray(v) for v in np.load(folder / f"captured_{index}.npz").values()
    ]

    def gradient(variables, x, labels, seed):
        arguments = [*variables, x, labels, jnp.asarray(seed, jnp.int32), *others]
        results = executable.execute_sharded(arguments)
        found = [parts[0] for parts in results.disassemble_into_single_device_arrays()]
        return found[:3], found[3:]

    return gradient


def adam(run: dict):
    """A step of Adam: variables, means, squares, gradients, number, rate -> three."""

    @jax.jit
    def update(variables, means, squares, gradients, number, rate):
        beta_1, beta_2 = run["beta_1"], run["beta_2"]
        size = rate * jnp.sqrt(1 - beta_2**number) / (1 - beta_1**number)
        means = [
            m + (1 - beta_1) * (g - m) for m, g in zip(means, gradients, strict=True)
        ]
        squares = [
            s + (1 - beta_2) * (g * g - s)
            for s, g in zip(squares, gradients, strict=True)
        ]
        variables = [
            v - size * m / (jnp.sqrt(s) + run["epsilon"])
            for v, m, s in zip(variables, means, squares, strict=True)
        ]
        return variables, means, squares

    return update


def train(folder: Path, run: dict) -> None:
    """All outer steps; the order of learners is that of `outer_loop.OuterStep`."""
    count, end = run["num_programs"], run["num_outer_steps"]
    gradients_of = [load(folder, index) for index in range(count)]
    data, state = np.load(folder / "data.npz"), np.load(folder / "state.npz")
    x, labels = jnp.asarray(data["x"]), jnp.asarray(data["labels"])
    variables = [jnp.asarray(state[f"variable_{i}"]) for i in range(len(state.files))]
    means, squares = ([jnp.zeros_like(v) for v in variables] for _ in range(2))
    update = adam(run)
    began = time.time()
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(end):
            turn, place = divmod(step, count)
            order = np.random.default_rng([run["seed"], turn]).permutation(count)
            told, gradients = gradients_of[order[place]](
                variables, x, labels, [run["seed"], step]
            )
            cosine = (1 + math.cos(math.pi * step / end)) / 2
            rest = run["final_fraction"]
            rate = run["learning_rate"] * (rest + (1 - rest) * cosine)
            variables, means, squares = update(
                variables, means, squares, gradients, float(step + 1), rate
            )
            names = ("meta_loss", "intermediate_loss", "gradient_norm")
            row = dict(zip(names, map(float, told), strict=True))
            row |= {"outer_step": step + 1, "seconds": time.time() - began}
            file.write(json.dumps(row) + "\n")
    trained = {f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)}
    np.savez(folder / "trained.npz", **trained)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        compile_program(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        settings = json.loads((Path(sys.argv[1]) / "run.json").read_text())
        compile_all(Path(sys.argv[1]), settings["num_programs"])
        train(Path(sys.argv[1]), settings)
