"""The experiment log quotes the stored records of the studies that made it."""

import csv
import dataclasses
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gtn_tf.networks.stock_models import STOCK_MODELS
from gtn_tf.studies import catalog, comparisons, policies
from nas.commands import report
from nas.evaluations.dismissal import Dismissal, early_loss
from nas.reporting import correlation
from nas.search.journal import Journal
from nas.spaces.nao_space import NaoSpace
from nas.spaces.registry import SPACES

MEASURED = Path(__file__).parent.parent / "results"
LOG = (MEASURED.parent / "docs" / "experiment_log.md").read_text()


# Variants of a study that was made when the default run had one learner and SGD.
EARLIER = {
    "recipe": (
        "defaults",
        "shared rates",
        "last loss only",
        "every fifth loss",
        "drawn learners",
        "center-only batch norm",
        "no decay",
        "no clipping",
        "tanh to 1",
    )
}


@pytest.mark.parametrize(
    "name, study", [("mnist_curricula", "curricula"), ("digits_recipe", "recipe")]
)
def test_the_table_is_that_of_the_records(name, study):
    comparison = catalog.COMPARISONS[study]
    paths = (MEASURED / name).glob("*/seed_*/record.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    variants = EARLIER.get(study, comparison.variants)
    assert {record["variant"] for record in records} == set(variants)
    comparison = dataclasses.replace(comparison, variants=dict.fromkeys(variants, {}))
    assert comparisons.format_table(comparison, records) in LOG


@pytest.mark.parametrize("study", ["soft_labels", "adversarial"])
@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_the_tables_of_the_appendices_are_those_of_the_records(dataset, study):
    paths = (MEASURED / f"{dataset}_{study}").glob("*/seed_*/record.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    table = comparisons.format_table(catalog.COMPARISONS[study], records)
    assert table in (MEASURED.parent / "docs" / "appendices.md").read_text()


def test_the_closed_loop_is_that_of_the_records():
    paths = (MEASURED / "digits_closed_loop").glob("*/seed_*/record.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    assert len(records) == 5 * len(catalog.COMPARISONS["closed_loop"].variants)
    table = comparisons.format_table(catalog.COMPARISONS["closed_loop"], records)
    assert table in (MEASURED.parent / "docs" / "closed_loop.md").read_text()


@pytest.mark.parametrize("name", ["digits", "mnist", "digits_noise", "digits_none"])
def test_realism_is_that_of_the_record(name):
    table = (MEASURED / f"realism_{name}" / "table.md").read_text()
    assert table in (MEASURED.parent / "docs" / "appendices.md").read_text()


@pytest.mark.parametrize("teacher", ["gtn", "distillation", "real"])
def test_the_sources_on_mnist_are_those_of_the_records(teacher):
    folder = MEASURED / "mnist_sources" / teacher
    results = json.loads((folder / "results.json").read_text())
    accuracy = results["teacher"]["test_accuracy"]
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    with (folder / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["outer_step"]) == results["num_outer_steps"]
    assert float(last["seconds"]) == pytest.approx(results["seconds"], abs=0.01)
    assert (
        f"| {teacher} | {accuracy['mean']:.2%} | {accuracy['low']:.2%} to "
        f"{accuracy['high']:.2%} | {results['num_outer_steps']} "
        f"| {results['seconds']:,.0f} |"
    ) in LOG


@pytest.mark.parametrize(
    "dataset, study", [("digits", "kinds"), ("digits", "left_out"), ("mnist", "kinds")]
)
def test_kinds_are_those_of_the_records(dataset, study):
    paths = (MEASURED / f"{dataset}_{study}").glob("*/seed_*/record.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    table = comparisons.format_table(catalog.COMPARISONS[study], records)
    results = (MEASURED.parent / "RESULTS.md").read_text()
    assert table in (results if dataset == "digits" else LOG)


@pytest.mark.parametrize(
    "folder", sorted(MEASURED.glob("precision_*")), ids=lambda folder: folder.name
)
def test_precisions_are_those_of_the_records(folder):
    records = sorted(
        (json.loads(path.read_text()) for path in folder.glob("*/seed_*/record.json")),
        key=lambda r: r["seed"],
    )
    table = comparisons.format_table(catalog.COMPARISONS["precision"], records)
    assert table in LOG


def test_policies_are_those_of_the_records(tmp_path):
    paths = (MEASURED / "cartpole_policies").glob("seed_*.json")
    records = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda r: r["seed"]
    )
    assert [record["seed"] for record in records] == [0, 1, 2, 3, 4]
    assert {record["frames"] for record in records} == {100_000}
    assert {record["a2c"]["frames"] for record in records} == {100_000}
    text = (MEASURED.parent / "docs" / "policies.md").read_text()
    assert policies.format_table(records) in text
    policies.figure(tmp_path / "figure.png", records)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_several_kinds_of_policies_are_those_of_the_record():
    path = MEASURED / "cartpole_policies" / "several_kinds_0.json"
    returns = json.loads(path.read_text())["returns"]
    assert len(returns) == 6
    for name, values in returns.items():
        assert f"| {name} | {min(values):.1f} | {np.mean(values):.1f} |\n" in LOG


def test_twenty_learners_on_mnist_are_those_of_the_record():
    path = MEASURED / "mnist_sources" / "twenty_learners.json"
    values = {name: np.array(v) for name, v in json.loads(path.read_text()).items()}
    assert {len(v) for v in values.values()} == {20}
    gtn, distillation = (f"{values[n].mean():.2%}" for n in ("gtn", "distillation"))
    assert (gtn, distillation) == ("98.63%", "98.51%")
    assert "it has 98.63 % (98.58 to 98.68), distillation 98.51 %" in LOG


def test_the_run_on_mnist_was_repeated():
    def rows(name):
        with (MEASURED / "mnist_sources" / name / "metrics.csv").open(newline="") as f:
            return [row | {"seconds": None} for row in csv.DictReader(f)]

    again = rows("gtn_again")
    assert again == rows("gtn")[: len(again)]
    assert f"equal to the last digit in all {len(again)} outer steps" in LOG


@pytest.mark.parametrize(
    "teacher", ["teacher", "ready_teacher", "one_learner_teacher", "noise_teacher"]
)
def test_the_correlations_are_those_of_the_journals(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(correlation, "NUM_RESAMPLES", 2)  # intervals are not compared
    journals = sorted((MEASURED / "cifar10_search").glob("*/journal.jsonl"))
    kinds = {path.parent: path.parent.name.partition("_seed_")[0] for path in journals}
    folders = [
        f for f, kind in kinds.items() if kind == teacher or "teacher" not in kind
    ]
    assert {kinds[f] for f in folders} >= {"search", "params", teacher}
    config = report.ReportConfig(",".join(map(str, folders)), str(tmp_path))
    report.run(config)

    def rows(text):
        return {re.sub(r" \([^)]* to [^)]*\)", "", r) for r in text.splitlines()}

    made = (tmp_path / "report.md").read_text()
    start = made.index("## Rank correlation")
    table = made[start:].split("\n\n")[1]
    assert rows(table) <= rows(LOG)


def test_the_seeds_of_the_reference():
    def scores(name):
        path = MEASURED / "cifar10_search" / name / "journal.jsonl"
        return {e.architecture: e.score for e in Journal(path, NaoSpace()).entries}

    seeds = [scores(n) for n in ("search", "search_seed_1", "search_seed_2")]
    assert {frozenset(own) for own in seeds} == {frozenset(seeds[0])}
    values = np.array([[own[name] for name in sorted(own)] for own in seeds])
    agreements = sorted(
        f"{stats.spearmanr(*pair).statistic:.2f}"
        for pair in itertools.combinations(values, 2)
    )
    # Seeds that were trained on other machines may be better or worse as a whole.
    centered = 100 * (values - values.mean(axis=1, keepdims=True))
    means = centered.mean(axis=0)
    noise = np.sqrt(((centered - means) ** 2).sum() / (2 * (len(means) - 1)))
    text = " ".join(LOG.split())
    told = "seeds of the reference correlate by {}, {} and {}".format(*agreements)
    assert told in text
    between = np.std(means, ddof=1)
    assert f"standard deviation of {noise:.1f} points, beside {between:.1f}" in text


def table_with(text, first):
    """Rows of the table whose header begins with `first`: name -> header -> cell."""
    lines = iter(text.splitlines())
    header = next(line for line in lines if line.startswith(f"| {first} |"))
    names = [cell.strip() for cell in header.split("|")[1:-1]]
    next(lines)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            return rows
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        rows[cells[0]] = dict(zip(names, cells, strict=True))
    return rows


def accuracies(path, measure):
    """(source, condition) -> accuracies of one measure, of an evaluation's rows."""
    found = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["measure"] == measure:
                key = row["source"], row["condition"]
                found.setdefault(key, []).append(float(row["accuracy"]))
    return found


BEGUN = {  # source -> column
    "gtn": "from noise",
    "warm": "warm start",
    "adversarial": "with a discriminator",
    "real": "real",
}


def test_what_teachers_begun_otherwise_are_good_for_is_that_of_the_record():
    text = (MEASURED.parent / "docs" / "appendices.md").read_text()
    text = text[text.index("## What these teachers are good for") :]
    whole = accuracies(MEASURED / "digits_begun" / "full.csv", "architectures")
    rows = table_with(text, "architecture")
    assert len(rows) == 6
    for name, cells in rows.items():
        for source, column in BEGUN.items():
            mean = np.mean(whole[source, name])
            assert cells[column].startswith(f"{100 * mean:.1f} %")
    ensembles = accuracies(MEASURED / "digits_begun" / "full.csv", "ensembles")
    rows = table_with(text, "learners in an ensemble")
    for source, name in BEGUN.items():
        assert rows[name]["32"] == f"{100 * ensembles[source, '32'][0]:.1f}"
    longer = MEASURED / "digits_begun" / "without_curriculum.csv"
    longer = accuracies(longer, "more_steps")
    rows = table_with(text, "more data")
    for source, name in [("gtn", ""), ("real", ", real")]:
        mean = np.mean(longer[source, "80"])
        assert rows[f"inner steps{name}"]["x 8"] == f"{100 * mean:.1f}"


@pytest.mark.parametrize("document", ["README.md", "RESULTS.md"])
@pytest.mark.parametrize(
    "folder, source, column",
    [
        ("ready_digits", "gtn", "digits"),
        ("ready_mnist", "gtn", "MNIST"),
        ("ready_mnist_real", "real", "MNIST, real data"),
        ("ready_fashion_mnist", "gtn", "Fashion-MNIST"),
        ("ready_fashion_mnist_real", "real", "Fashion-MNIST, real data"),
        ("ready_cifar10", "gtn", "CIFAR-10"),
    ],
)
def test_what_stock_models_are_taught_is_that_of_the_records(
    document, folder, source, column
):
    found = {}
    with (MEASURED / folder / "evaluation.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["measure"] == "stock_models" and row["source"] == source:
                found.setdefault(row["condition"], []).append(float(row["accuracy"]))
    rows = table_with((MEASURED.parent / document).read_text(), "model")
    assert set(rows) == set(found) == set(STOCK_MODELS)
    for model, accuracies in found.items():
        assert rows[model][column].startswith(f"{100 * np.mean(accuracies):.1f} %")


@pytest.mark.parametrize(
    "folder, column", [("mnist", "MNIST"), ("fashion_mnist", "Fashion-MNIST")]
)
def test_ready_teachers_own_kinds_are_those_of_the_records(folder, column):
    teacher, real = (
        json.loads((MEASURED / name / "results.json").read_text())["teacher"]
        for name in (f"ready_{folder}", f"ready_{folder}_real")
    )
    text = (MEASURED.parent / "RESULTS.md").read_text()
    rows = table_with(text[text.index("| kind | digits | MNIST |") :], "kind")
    for family, own in teacher["kinds"].items():
        cell = rows[family][column]
        assert cell.startswith(f"{100 * own['mean']:.1f} %")
        assert f"real {100 * real['kinds'][family]['mean']:.1f} %" in cell


@pytest.mark.parametrize("seed", range(5))
def test_the_default_run_is_that_of_the_record(seed):
    path = MEASURED / f"default_seed_{seed}" / "results.json"
    results = json.loads(path.read_text())
    rows = table_with((MEASURED.parent / "RESULTS.md").read_text(), "kind")
    for family, own in results["teacher"]["kinds"].items():
        name = f"{family} (unseen)" if own["unseen"] else family
        real = results["real"]["kinds"][family]
        means = f"{100 * own['mean']:.1f} / {100 * real['mean']:.1f}"
        cell = rows[name][f"seed {seed}"]
        assert means in cell
        assert cell.startswith("**") == (own["mean"] < real["mean"])
        is_clear = stats.wilcoxon(own["values"], real["values"]).pvalue < 0.05
        assert cell.endswith("~") != is_clear


def test_the_warm_start_is_that_of_the_records():
    text = (MEASURED.parent / "RESULTS.md").read_text()
    rows = table_with(text[text.index("**What meta-training adds") :], "kind")
    folders = {
        "warm start, seeds 0, 1, 2": "default_warm_start_only/seed_{}",
        "trained, seeds 0, 1, 2": "default_seed_{}",
    }
    for column, folder in folders.items():
        found = []
        for seed in range(3):
            path = MEASURED / folder.format(seed) / "results.json"
            found.append(json.loads(path.read_text())["teacher"])
        for row in rows:
            family = row.removesuffix(" (unseen)")
            means = (
                (r["kinds"][family] if family in r["kinds"] else r["test_accuracy"])
                for r in found
            )
            cells = ", ".join(f"{100 * each['mean']:.1f}" for each in means)
            assert rows[row][column] == cells


PUBLISHED = {  # column -> record, file of published accuracies
    "NAS-Bench-201": ("nasbench201_half_b/seed_0", "nasbench201.json"),
    "DARTS": ("darts_half_b", "nasbench301.json"),
}
CHEAP = {
    "NAS-Bench-201": "params (published), jacov (published) and synflow (published)",
    "DARTS": "nwot (published), params (published) and -grad_norm (published)",
}


def published_file(name):
    path = Path(os.environ.get("GTN_DATA_DIR", "../shared/data")) / "nasbench" / name
    if not path.is_file():
        pytest.skip(f"GTN_DATA_DIR has no nasbench/{name}")
    return path


@pytest.mark.parametrize("column", PUBLISHED)
def test_published_cells_are_those_of_the_journal(column, tmp_path, monkeypatch):
    record, file = PUBLISHED[column]
    published = published_file(file)
    monkeypatch.setattr(correlation, "NUM_RESAMPLES", 2)  # intervals are not compared
    with_loss, alone = (
        reported([folder], tmp_path / name, published)
        for name, folder in (
            ("with_loss", MEASURED / record),
            ("alone", with_accuracies(MEASURED / record, tmp_path / "run")),
        )
    )
    rows = table_with((MEASURED.parent / "RESULTS.md").read_text(), "judge")
    made = {
        "teacher": with_loss["teacher"],
        "teacher, accuracy alone": alone["teacher"],
        "nwot, as published": with_loss["nwot (published)"],
        "cheap ones": with_loss[CHEAP[column]],
        "teacher and cheap ones": with_loss[f"teacher, {CHEAP[column]}"],
    }
    assert rows.keys() == made.keys()
    for row, found in made.items():
        both = (rows[row][column + suffix] for suffix in ("", ", better half"))
        assert " / ".join(each.split()[0] for each in both) == both_halves(found)


def test_two_networks_of_a_published_cell_are_those_of_the_journals(
    tmp_path, monkeypatch
):
    published = published_file("nasbench201.json")
    monkeypatch.setattr(correlation, "NUM_RESAMPLES", 2)
    section = LOG.partition("## The early loss beside the accuracy")[2]
    told = table_with(section, "judge")
    for column, seeds in {"seed 0": [0], "seed 1": [1], "both": [0, 1]}.items():
        folders = [MEASURED / "nasbench201_half_b" / f"seed_{n}" for n in seeds]
        with_loss = reported(folders, tmp_path / column, published)
        others = [with_accuracies(f, tmp_path / f"{column} {f.name}") for f in folders]
        alone = reported(others, tmp_path / f"{column} alone", published)
        cheap = f"teacher, {CHEAP['NAS-Bench-201']}"
        assert told["accuracy alone"][column] == both_halves(alone["teacher"])
        assert told["with the early loss"][column] == both_halves(with_loss["teacher"])
        both = told["with the early loss and cheap ones"][column]
        assert both == both_halves(with_loss[cheap])


def with_accuracies(folder, copy):
    """A copy of a search whose scores are the accuracies alone."""
    copy.mkdir()
    shutil.copy(folder / "flags.txt", copy)
    rows = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    lines = [json.dumps(row | {"score": row["accuracy"]}) for row in rows]
    (copy / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return copy


def reported(folders, output, published):
    """Rows of the report's table about judges."""
    runs = ",".join(map(str, folders))
    report.run(report.ReportConfig(runs, str(output), str(published)))
    return table_with((output / "report.md").read_text(), "proxy")


def both_halves(row):
    """Spearman's correlation, all / the better half, without intervals."""
    found = row["Spearman"], row["Spearman, better half"]
    return " / ".join(each.split()[0] for each in found)


def test_early_dismissal_is_that_of_the_stored_losses():
    known = json.loads(published_file("nasbench201.json").read_text())["cifar10"]
    section = LOG.partition("## NAS-Bench-201: early dismissal")[2]
    told = table_with(section, "half")
    for half in told:
        path = MEASURED / "nasbench201_early_losses" / f"half_{half.lower()}.jsonl"
        rows = list(map(json.loads, path.read_text().splitlines()))
        accuracy = np.array([known[row["cell"]]["val_accuracy"] for row in rows])
        scores = np.array([row["score"] for row in rows])
        early, dismissed = [], []
        dismissal = Dismissal(8, lambda early=early: early)
        for row in rows:
            loss = early_loss(row["losses"], 8)
            dismissed.append(dismissal.is_behind(loss))
            early.append(loss)
        losses = np.array(early)
        assert told[half]["cells"] == str(len(rows))
        assert told[half]["dismissed"] == str(sum(dismissed))
        assert told[half]["all to the end"] == agreement(scores, accuracy)
        mixed = np.where(dismissed, -losses, scores)
        assert told[half]["the file's order"] == agreement(mixed, accuracy)
        assert told[half]["early loss alone"] == agreement(-losses, accuracy)


EARLY = {  # column -> records of its seeds, over which scores are averaged
    "NAS-Bench-201, seed 0": ("nasbench201_seed_0",),
    "seed 1": ("nasbench201_seed_1",),
    "both": ("nasbench201_seed_0", "nasbench201_seed_1"),
    "NAO": ("nao",),
    "DARTS": ("darts",),
}


@pytest.mark.parametrize("column", EARLY)
def test_weights_of_the_early_loss_are_those_of_the_stored_losses(column):
    found = []
    for name in EARLY[column]:
        path = MEASURED / "early_loss_beside_accuracy" / f"{name}.jsonl"
        rows = map(json.loads, path.read_text().splitlines())
        found.append({row["cell"]: row for row in rows})
    cells = [cell for cell in found[0] if all(cell in rows for rows in found)]
    truth = np.array([found[0][cell]["true"] for cell in cells])

    def scores(weight, which):
        return np.mean(
            [
                [
                    rows[cell]["accuracies"][which]
                    - weight * early_loss(rows[cell]["losses"], 8)
                    for cell in cells
                ]
                for rows in found
            ],
            axis=0,
        )

    section = LOG.partition("## The early loss beside the accuracy")[2]
    by_weight, by_pass = table_with(section, "weight"), table_with(section, "steps")
    for weight in by_weight:
        made = agreement(scores(float(weight), 0), truth)
        assert by_weight[weight][column] == made
    for which, told in enumerate(by_pass.values()):
        assert told[column] == agreement(scores(0.2, which), truth)


def test_the_teacher_of_cells_is_that_of_the_journal():
    known = json.loads(published_file("nasbench201.json").read_text())["cifar10"]
    space, folder = SPACES["nasbench201"](), MEASURED / "nasbench201_cells_teacher"
    truth = {space.key(space.decode(text)): own for text, own in known.items()}
    entries = Journal(folder / "journal.jsonl", space).entries
    accuracy = np.array([truth[entry.key]["val_accuracy"] for entry in entries])
    made = agreement(np.array([entry.score for entry in entries]), accuracy)
    mean = np.mean([entry.accuracy for entry in entries])
    section = LOG.partition("## NAS-Bench-201: a teacher meta-trained on")[2]
    told = " ".join(section.partition("\n## ")[0].split())
    assert (
        f"The first {len(entries)} cells of half A have {100 * mean:.1f} % by it"
        in told
    )
    assert f"their order is {made} for" in told
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    losses = [float(row["meta_loss"]) for row in rows]
    ends = np.mean(losses[:24]), np.mean(losses[-24:])
    assert "was {:.3f} on average over the first 24 steps, {:.3f}".format(*ends) in told


def test_shared_weights_are_those_of_the_stored_scores():
    known = json.loads(published_file("nasbench201.json").read_text())["cifar10"]
    section = LOG.partition("## NAS-Bench-201: shared weights and a")[2]
    told = table_with(section, "judge")
    shared, made = (
        list(map(json.loads, (MEASURED / name / "half_a.jsonl").open()))
        for name in ("nasbench201_shared_weights", "nasbench201_hypernetwork")
    )
    rows = [{**one, **other} for one, other in zip(shared, made, strict=True)]
    assert [row["cell"] for row in rows] == [row["cell"] for row in shared]
    accuracy = np.array([known[row["cell"]]["val_accuracy"] for row in rows])
    seconds = np.mean([row["processor_seconds"] for row in rows])
    told_seconds = told["processor seconds, without"]["hypernetwork"]
    assert told_seconds == f"{seconds:.1f}"
    for column in ("fresh weights", "shared weights", "hypernetwork"):
        scores = np.array([row[column.removesuffix(" weights")] for row in rows])
        agreed = told["accuracy after 32 steps"][column]
        assert agreed == agreement(scores, accuracy)
        mean = told["mean accuracy after 32 steps"][column]
        assert mean == f"{100 * scores.mean():.1f} %"


def agreement(values, accuracy):
    """Spearman's correlation, all / the better half by the values."""
    better = np.argsort(-values, kind="stable")[: len(values) // 2]
    both = (
        stats.spearmanr(values[some], accuracy[some]).statistic
        for some in (slice(None), better)
    )
    return " / ".join(f"{each:.2f}" for each in both)
