"""The report: one page from run folders."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import problems
import pytest
from report_runs import CELLS, SPECS, values, write_published, write_search
from scipy import stats

from gtn_tf.data import loaders
from gtn_tf.errors import UserError
from gtn_tf.runs import meta_training, run_setup, workdirs
from nas.commands import report
from nas.commands.report import ReportConfig
from nas.evaluations.base import Result
from nas.evaluations.registry import EVALUATIONS
from nas.reporting import page, published, tables
from nas.search.config import SearchConfig
from nas.search.journal import Entry
from nas.spaces.nasbench201_space import NasBench201Space
from nas.spaces.registry import SPACES


@pytest.fixture
def searches(tmp_path):
    truth = np.random.default_rng(0).uniform(0.5, 0.9, 30)
    noisy = truth + np.random.default_rng(1).normal(size=30) * 0.05
    return [
        write_search(tmp_path / "a", "search", truth),
        write_search(tmp_path / "b", "teacher", noisy),
        write_search(tmp_path / "c", "params", -truth),
    ]


def make(folders, output, **changes):
    report.run(ReportConfig(",".join(folders), str(output), **changes))
    return (output / "report.md").read_text()


def row(text, *cells):
    """The rest of the first row of a table that begins with these cells."""
    start = "| " + " | ".join(cells) + " |"
    found, *_ = [r for r in text.splitlines() if r.startswith(start)]
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_correlations_and_page(searches, tmp_path):
    text = make(searches, tmp_path / "out")
    assert row(text, "params")[:2] == ["30", "-1.00 (-1.00 to -1.00)"]
    teacher = row(text, "teacher")
    assert 0.5 < float(teacher[1].split()[0]) < 1
    assert teacher[-2:] == ["2.0", "0"]
    assert row(text, "teacher and params")[-2:] == ["4.0", "0"]
    made = (tmp_path / "out" / "report.html").read_text()
    tables = made.split("All tables of report.md")[1].split("</section>")[0]
    assert tables.count("<table>") == text.count("\n|---|") == 3
    assert "<img" not in tables


def test_repeated_seeds_are_one_judgement(searches, tmp_path):
    again = write_search(tmp_path / "d", "params", np.zeros(30), evaluation_seed=1)
    text = make([*searches, again], tmp_path / "out")
    assert row(text, "params")[-2] == "4.0"


def test_other_flags_are_another_judgement(searches, tmp_path):
    longer = write_search(tmp_path / "d", "params", np.arange(30), num_filters=16)
    text = make([*searches, longer], tmp_path / "out")
    assert row(text, "params --num_filters=8")[1] == "-1.00 (-1.00 to -1.00)"
    assert row(text, "params --num_filters=16")[-2] == "2.0"
    assert "| params |" not in text


def test_a_flag_of_teachers_tells_no_others_apart(searches, tmp_path):
    again = write_search(
        *(tmp_path / "d", "search", np.zeros(30)),
        evaluation_seed=1,
        early_loss_weight=0.0,
        num_networks=2,
    )
    text = make([*searches, again], tmp_path / "out")
    assert text.count("## Rank correlation with search evaluation") == 1
    weighed = write_search(
        tmp_path / "e", "teacher", np.arange(30), early_loss_weight=0.5
    )
    text = make([*searches, weighed], tmp_path / "out")
    assert row(text, "teacher --early_loss_weight=0.5")


def test_references_that_differ_in_a_flag_get_a_table_each(searches, tmp_path):
    shorter = write_search(tmp_path / "d", "search", np.arange(30), num_epochs=0.25)
    text = make([*searches, shorter], tmp_path / "out")
    _, first, second = text.split("## Rank correlation with search --num_epochs=")
    second = second.split("\n## ")[0]
    assert {float(part.split()[0]) for part in (first, second)} == {
        0.25,
        SearchConfig().num_epochs,
    }
    correlations = {row(part, "params")[1] for part in (first, second)}
    assert len(correlations) == 2 and "-1.00 (-1.00 to -1.00)" in correlations
    assert len(set(re.findall(r"\((figure_3c\w*\.png)\)", text))) == 2


def test_a_reference_that_is_not_there_is_said(searches, tmp_path):
    text = make(searches[1:], tmp_path / "out")
    assert "no search here has the evaluation search" in text
    with pytest.raises(ValueError, match="--reference=serach.*give one of.*or an"):
        ReportConfig("somewhere", "out", reference="serach")
    with pytest.raises(ValueError, match="--reference=final is unknown"):
        ReportConfig("somewhere", "out", reference="final")


def test_another_teacher_is_another_judgement(searches, tmp_path):
    again = write_search(tmp_path / "d", "teacher", np.arange(30), teacher="other")
    text = make([*searches, again], tmp_path / "out")
    assert row(text, "teacher --teacher=other")[-2] == "2.0"
    assert "| teacher |" not in text


def test_table_1(tmp_path):
    folders = [
        write_search(tmp_path / str(seed), "final", [score], evaluation_seed=seed)
        for seed, score in enumerate((0.95, 0.96, 0.97))
    ]
    text = make(folders, tmp_path / "out")
    (found,) = [r for r in text.splitlines() if str(SPECS[0]) in r]
    assert "| 4.00 ± 1.00 | 3 | 1,234 |" in found
    assert "| Random Search + GTN + Cutout | 2.92 ± 0.06 | 8.2M | 0.67 |" in text


def test_the_sign_that_ends_a_cell_of_a_table_may_be_in_an_architecture():
    space = NasBench201Space()
    result = Result(0.5, 2.0, False, 1234)
    entry = Entry.of(space, space.sample(0, 0), result, 0)
    made = page.as_html(tables.best_table([entry]))
    assert f"<td>{entry.architecture}</td>" in made


def test_a_training_run(tmp_path, capsys):
    folder = tmp_path / "run"
    config = dataclasses.replace(
        problems.SMALL_RUN, workdir=str(folder), validate_every=1
    )
    workdirs.open_workdir(folder, config)
    digits = loaders.load("digits", None, 0)
    meta_training.meta_train(run_setup.build(config, digits), folder)
    text = make([str(folder)], tmp_path / "out")
    assert "Not finished." in text and "run_0_accuracy.png" in text
    accuracies = {"mean": 0.5, "low": 0.25, "high": 0.75, "values": [0.25, 0.75]}
    workdirs.write_results(
        folder,
        {
            "num_outer_steps": 2,
            "seconds": 3.2,
            "teacher": {"test_accuracy": accuracies},
        },
    )
    text = make([str(folder)], tmp_path / "out")
    assert "| teacher | 50.00% | 25.00% to 75.00% |" in text
    assert "2 outer steps in 3 s." in text
    (folder / "results.json").write_text('{"teacher": 1}')
    with pytest.raises(ValueError, match="is no results file"):
        make([str(folder)], tmp_path / "out")


@pytest.mark.parametrize(
    "folders, output, words",
    [
        ("", "out", "no run is given"),
        ("somewhere", "", "--output is not given"),
    ],
)
def test_flags_that_are_missing(folders, output, words):
    with pytest.raises(ValueError, match=words):
        ReportConfig(folders, output)


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(ValueError, match="neither a search.*nor a training run"):
        make([str(tmp_path)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(searches, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        make(searches, tmp_path / "file")


def test_text_is_escaped():
    made = page.as_html("# <script>alert(1)</script> *a* [b](javascript:c) `d` _e_")
    assert made == (
        "<h1>&lt;script&gt;alert(1)&lt;/script&gt; *a* [b](javascript:c) `d` _e_</h1>"
    )


@pytest.fixture
def judged(tmp_path):
    """Twelve cells judged by a teacher, who is right, ten by naswot, which is wrong."""
    flags = {"space": "nasbench201", "dataset": "cifar10"}
    return [
        write_search(tmp_path / "t", "teacher", np.arange(12), **flags),
        write_search(tmp_path / "n", "naswot", -np.arange(10), **flags),
    ]


@pytest.mark.parametrize("with_time", [False, True])
def test_published_accuracies_as_the_reference(judged, tmp_path, with_time):
    path = write_published(tmp_path / "a.json", with_time=with_time)
    cheap = "naswot+synflow"
    text = make(judged, tmp_path / "out", reference=path, combine=cheap)
    assert "Over the 10 architectures that every evaluation" in text
    right, wrong = "1.00 (1.00 to 1.00)", "-1.00 (-1.00 to -1.00)"
    seconds = "0.5" if with_time else ""
    assert row(text, "teacher")[:2] == ["10", right]
    assert row(text, "naswot")[:2] == ["10", wrong]
    assert row(text, "nwot (published)")[:2] == ["10", right]
    assert row(text, "nwot (published)")[-2:] == [seconds, "0"]
    assert row(text, "synflow (published)")[1] == wrong
    assert row(text, "teacher and nwot (published)")[1] == right
    # Ours before the published one, equal weights: two that are wrong outvote one.
    assert row(text, "naswot and synflow (published)")[1] == wrong
    assert row(text, "teacher, naswot and synflow (published)")[1] == wrong
    assert row(text, "(reference)")[0] == "10"
    assert "The better half are" in text and "Precision is" in text
    assert "figure_3c_nasbench201_cifar10.png" in text
    assert "id (published)" not in text


def test_groups_of_cheap_proxies_are_those_that_combine_names(judged, tmp_path):
    path = write_published(tmp_path / "a.json")
    groups = "naswot+flops,naswot+jacov+synflow"
    text = make(judged, tmp_path / "out", reference=path, combine=groups)
    cheap = "naswot, jacov (published) and synflow (published)"
    # Two fall with a cell's number, one rises but for one score that is none.
    assert row(text, cheap)[1].startswith("-1.00")
    assert row(text, f"teacher, {cheap}")[0] == "10"
    assert "naswot and synflow (published)" not in text
    assert "naswot and flops" not in text  # of which there is no score


def test_cheap_proxies_are_those_of_the_space_where_none_are_named(judged, tmp_path):
    path = write_published(tmp_path / "a.json")
    flags = {"space": "nasbench201", "dataset": "cifar10"}
    params = write_search(tmp_path / "p", "params", np.arange(12), **flags)
    text = make([*judged, params], tmp_path / "out", reference=path)
    cheap = "params, jacov (published) and synflow (published)"
    assert row(text, cheap)[0] == row(text, f"teacher, {cheap}")[0] == "10"
    assert SPACES["darts"].cheap_evaluations == ("naswot", "params", "-grad_norm")
    for space in SPACES.values():
        names = {name.removeprefix("-") for name in space.cheap_evaluations}
        assert names <= set(EVALUATIONS)


def test_a_proxy_behind_a_minus_counts_the_other_way_round(judged, tmp_path):
    """Ours of naswot falls with a cell's number, as the published one of synflow."""
    path = write_published(tmp_path / "a.json")
    groups = "-naswot-synflow,teacher-naswot"
    text = make(judged, tmp_path / "out", reference=path, combine=groups)
    right = "1.00 (1.00 to 1.00)"
    assert row(text, "-naswot and -synflow (published)")[1] == right
    assert row(text, "teacher and -naswot")[1] == right


@pytest.mark.parametrize("combine", ["naswot+bogus", "naswot+", ",", "naswot--flops"])
def test_groups_that_name_no_evaluation_are_refused(combine):
    with pytest.raises(UserError, match="--combine=.*give some of teacher"):
        report.ReportConfig("a", "b", combine=combine)


def test_what_a_search_gains(judged, tmp_path):
    """The judges' journals have two seconds for each cell, the file half a second."""
    path = write_published(tmp_path / "a.json", with_time=True)
    text = make(judged, tmp_path / "out", reference=path, combine="naswot+synflow")
    assert "missing to the best in the file, 99.00 %" in text
    assert "The best of these architectures has 89.00 %, a random one 84.50 %" in text
    right = "89.00 (89.00 to 89.00), regret 10.00"
    assert row(text, "teacher", "2.0")[1:] == [right] * 4  # ten cells in 20 s
    assert row(text, "nwot (published)", "0.5")[-1] == right
    wrong = "80.00 (80.00 to 80.00), regret 19.00"
    assert row(text, "teacher, naswot and synflow (published)", "4.5")[-1] == wrong
    assert "their time is not known" not in text
    assert "search_gain_nasbench201_cifar10.png" in text
    assert (tmp_path / "out" / "search_gain_nasbench201_cifar10.png").is_file()


def test_published_proxies_without_a_time_gain_nothing_that_is_known(judged, tmp_path):
    path = write_published(tmp_path / "a.json")
    text = make(judged, tmp_path / "out", reference=path)
    (said,) = [line for line in text.splitlines() if "time is not known" in line]
    assert "nwot (published), synflow (published)" in said
    assert row(text, "teacher", "2.0")


def test_a_published_score_that_is_no_number_is_the_least(judged, tmp_path):
    path = write_published(tmp_path / "a.json")
    text = make(judged, tmp_path / "out", reference=path)
    found = row(text, "jacov (published)")
    assert found[-1] == "1"
    ranks = [*range(1, 10), 0]
    expected = stats.spearmanr(ranks, range(10)).statistic
    assert found[1].startswith(f"{expected:.2f} ")


def test_published_values_of_one_network_are_averaged():
    space = NasBench201Space()
    twins = ["(2, 3, 0, 1, 4, 0)", "(3, 2, 0, 1, 0, 4)"]
    content = {text: values(i, True) for text, i in zip(twins, (1, 4), strict=True)}
    keys = published.keys_of(content, Path("a.json"), space)
    (key,) = set(keys.values())
    found = published.scores(content, keys)
    assert found["val_accuracy"].scores == {key: 82.5}
    assert found["nwot"].scores == {key: 5.0}
    assert found["nwot"].seconds == {key: 0.5}


def test_the_data_set_is_that_of_the_searches(tmp_path):
    flags = {"space": "nasbench201", "dataset": "cifar100"}
    folder = write_search(tmp_path / "t", "teacher", np.arange(12), **flags)
    cells = {str(cell.operations): values(i) for i, cell in enumerate(CELLS)}
    path = write_published(
        tmp_path / "a.json", dataset="cifar100", sign=-1, more={"cifar10": cells}
    )
    text = make([folder], tmp_path / "out", reference=path)
    assert row(text, "teacher")[1] == "-1.00 (-1.00 to -1.00)"
    assert "(nasbench201, cifar100)" in text and "cifar10)" not in text


def test_searches_of_another_space_are_put_aside(searches, judged, tmp_path):
    path = write_published(tmp_path / "a.json")
    text = make([*searches, *judged], tmp_path / "out", reference=path)
    (said,) = [line for line in text.splitlines() if "Not compared" in line]
    assert "a.json, which has nasbench201 on cifar10" in said
    assert "params (nao, digits)" in said and "naswot" not in said
    assert row(text, "teacher")[:2] == ["10", "1.00 (1.00 to 1.00)"]


def test_too_few_common_architectures_are_said(judged, tmp_path):
    path = write_published(tmp_path / "a.json", CELLS[:3])
    text = make(judged, tmp_path / "out", reference=path)
    assert "have 3 architectures in common (file 3, teacher 12, naswot 10)" in text


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "a.json is no file of published accuracies.*give one of"),
        ("[1]", "a.json is no file of published accuracies"),
        ('{"cifar10": {"(0, 0, 0, 0, 4, 3)": {"nwot": 1}}}', "no file of published"),
        ('{"cifar10": {}}', "a.json has no architecture"),
        ('{"cifar10": {"0 7": {"val_accuracy": 1}}}', "a.json has '0 7', and the"),
        (
            '{"cifar10": {"(0, 0, 0, 0, 4, 3)": {"val_accuracy": 1}, '
            '"(9, 0, 0, 0, 4, 3)": {"val_accuracy": 1}}}',
            r"a.json: '\(9, 0, 0, 0, 4, 3\)' is no architecture of nasbench201",
        ),
    ],
)
def test_files_that_are_no_reference(judged, tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        make(judged, tmp_path / "out", reference=str(path))
    assert not (tmp_path / "out").exists()
