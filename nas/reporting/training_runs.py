"""Training runs in the report: results, learning curve, samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from gtn_tf.errors import UserError
from gtn_tf.evaluation import tables
from gtn_tf.runs import workdirs
from nas.reporting import plots


def sections(folders: list[Path], output: Path) -> Iterable[str]:
    """Markdown of each run; figures go to the output folder."""
    for number, folder in enumerate(folders):
        yield f"## Training run {folder.name}\n\n{_results(folder)}"
        curve = workdirs.validations(folder)
        if len(curve):
            name = f"run_{number}_accuracy.png"
            plots.learning_curve(output / name, curve[:, 0], curve[:, 1])
            yield f"![validation accuracy]({name})"
        samples = sorted((folder / "samples").glob("*.png"))
        if samples:
            name = f"run_{number}_samples.png"
            shutil.copyfile(samples[-1], output / name)
            yield f"![what the teacher shows]({name})"


def _results(folder: Path) -> str:
    """A table of results.json; a run that is not finished has none."""
    path = folder / "results.json"
    if not path.is_file():
        return "Not finished."
    try:
        results = json.loads(path.read_text())
        rows = []
        for source in ("teacher", "real"):
            if source in results:
                found = results[source]["test_accuracy"]
                mean, low, high = (float(found[key]) for key in ("mean", "low", "high"))
                rows.append([source, f"{mean:.2%}", f"{low:.2%} to {high:.2%}"])
        steps, seconds = int(results["num_outer_steps"]), float(results["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no results file of bin/train ({error!r}): run it again"
        ) from None
    table = tables.markdown(rows, ["data", "few-step test accuracy", "95 % interval"])
    return f"{table}\n\n{steps} outer steps in {seconds:.0f} s."
