"""What the report's page says and holds; test_report_browser.py looks at it."""

import csv
import io
import json
import re
import subprocess
import urllib.parse

import numpy as np
import pytest
from report_runs import (
    CELLS,
    write_inner_steps,
    write_published,
    write_search,
    write_training,
)
from scipy import stats

import gtn_tf
from nas.commands import report
from nas.commands.report import ReportConfig
from nas.reporting import cell_drawing, charts, provenance, run_groups
from nas.reporting.comparisons import A2C, BOTH, PROXY, REAL, TEACHER, source_of
from nas.reporting.content import Table
from nas.spaces.registry import SPACES

FLAGS = {"space": "nasbench201", "dataset": "cifar10"}


def make(tmp_path, *folders, **options):
    path = report.run(ReportConfig(",".join(folders), str(tmp_path / "out"), **options))
    return path.read_text()


def head_of(made):
    return " ".join(made.split("</header>")[0].split())


def specs_of(made):
    (text,) = re.findall(
        r'<script type="application/json" id="specs">(.*)</script>', made
    )
    return json.loads(text)


def rows_of(made, key):
    """The file that a figure offers, read again."""
    address = re.search(
        rf'download="{key}.csv" href="data:text/csv[^,]*,([^"]*)"', made
    )
    return list(csv.DictReader(io.StringIO(urllib.parse.unquote(address[1]))))


def test_two_seeds_and_their_difference_from_real_data(tmp_path):
    folders = [
        write_training(tmp_path / "a", 0, teacher=0.9, real=0.8),
        write_training(tmp_path / "b", 1, teacher=0.92, real=0.81),
    ]
    made = make(tmp_path, *folders)
    half = stats.t.ppf(0.975, 1) * stats.sem([0.9, 0.92])
    assert (
        "After 10 steps of 32 images fresh networks taught by the teacher recognize "
        f"91.0% of digits images (95 % interval {0.91 - half:.1%} to 100.0% over 2 "
        "seeds), 10.5 points more than by as many steps of real data (difference +4.1 "
        "to +16.9)."
    ) in head_of(made)
    assert f"known to {100 * (1 - 0.91 + half):.0f} points only" in head_of(made)
    assert "near chance" not in head_of(made)  # nobody knows the number of classes
    curve = rows_of(made, "outer-loop")
    (last,) = [r for r in curve if r["line"] == "teacher" and r["outer step"] == "40"]
    found = [float(last[name]) for name in ("validation accuracy", "low", "high")]
    assert found == pytest.approx([0.91, 0.9, 0.92])
    losses = rows_of(made, "meta-loss")
    assert [float(row["outer step"]) for row in losses] == [*range(4, 41, 4)]
    assert float(losses[0]["meta-loss"]) == pytest.approx(
        np.median([1, 1 / 2, 1 / 3, 1 / 4])
    )
    kinds = rows_of(made, "kinds-0")
    assert [row["kind of network"] for row in kinds] == ["mnist"] * 2 + [
        "wide (unseen)"
    ] * 2
    assert float(kinds[3]["mean"]) == pytest.approx(0.805)
    assert (
        "teacher-images-0" not in made and 'id="teacher"' not in made
    )  # nothing to show


def test_one_run_says_that_it_is_one(tmp_path):
    made = make(tmp_path, write_training(tmp_path / "a", teacher=0.81, real=0.805))
    text = head_of(made)
    assert "over 8 learners of one run, which says nothing of other seeds)" in text
    assert "difference +0.5 to +0.5" in text  # learner by learner
    assert [row["low"] for row in rows_of(made, "outer-loop")] == [""] * 8


def test_ones_own_data_goes_by_its_name_alone(tmp_path):
    folder = write_training(tmp_path / "a", dataset="folder:/home/me/my pets")
    head = head_of(make(tmp_path, folder))
    assert "<h1>Report on my_pets</h1>" in head and "of my_pets images" in head


def test_a_difference_that_may_be_none(tmp_path):
    folders = [
        write_training(tmp_path / "a", 0, teacher=0.9, real=0.8),
        write_training(tmp_path / "b", 1, teacher=0.8, real=0.81),
    ]
    assert "has zero in it, so neither is shown to be better." in head_of(
        make(tmp_path, *folders)
    )


def test_accuracy_near_chance_is_warned_of(tmp_path):
    folder = write_training(tmp_path / "a", teacher=0.18, real=0.2, with_teacher=True)
    made = make(tmp_path, folder)
    assert "The accuracy by teacher, 18.0%, is near chance (10%)" in head_of(made)
    assert "by real data" not in head_of(made)
    assert "2.0 points fewer than by as many steps of real data" in head_of(made)


def test_runs_of_other_flags_are_told_apart(tmp_path):
    folders = [
        write_training(tmp_path / "a"),
        write_training(tmp_path / "b", teacher=0.7, num_inner_steps=5),
    ]
    made = make(tmp_path, *folders)
    lines = {row["line"] for row in rows_of(made, "outer-loop")}
    assert "teacher --num_inner_steps=5" in lines and len(lines) == 4
    assert (
        "After 5 steps of 32 images fresh networks taught by the teacher --num" in made
    )


def test_what_a_teacher_shows_and_its_rates(tmp_path):
    made = make(tmp_path, write_training(tmp_path / "a", with_teacher=True))
    teacher = gtn_tf.load_teacher(tmp_path / "a")
    told = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]*)">', made)
    assert len(told) == 10 * min(10, teacher.num_inner_steps)
    assert told[0] == "class 0, inner step 1"
    assert told[-1] == f"class 9, inner step {teacher.num_inner_steps}"
    rates = rows_of(made, "teacher-learning-rate")
    assert [int(row["inner step"]) for row in rates] == [
        *range(1, teacher.num_inner_steps + 1)
    ]
    found = [float(row["learning rate"]) for row in rates]
    assert found == pytest.approx(teacher.hyperparameters["learning_rate"].tolist())


def test_what_learners_know_after_each_step(tmp_path):
    folder = write_training(tmp_path / "a")
    found = {"gtn": [[0.2, 0.6], [0.4, 0.7]], "real": [[0.1, 0.3], [0.1, 0.5]]}
    write_inner_steps(tmp_path / "a", found)
    rows = rows_of(make(tmp_path, folder), "inner-loop")
    assert [(r["line"], r["inner step"], float(r["accuracy"])) for r in rows] == [
        ("real data", "1", pytest.approx(0.1)),
        ("real data", "2", pytest.approx(0.4)),
        ("teacher", "1", pytest.approx(0.3)),
        ("teacher", "2", pytest.approx(0.65)),
    ]
    assert (rows[3]["low"], rows[3]["high"]) == ("0.6", "0.7")


def test_a_search_beside_published_accuracies(tmp_path):
    folder = write_search(tmp_path / "t", "teacher", np.arange(12) / 12, **FLAGS)
    record = {"class_names": list("0123456789"), "dataset": "cifar10"}
    record |= {"seconds": 300.0, "num_outer_steps": 60}
    (tmp_path / "t" / "teacher.json").write_text(json.dumps(record))
    path = write_published(tmp_path / "a.json", with_time=True)
    made = make(tmp_path, folder, reference=path)
    text = head_of(made)
    assert "The order that teacher gives 12 architectures agrees with that of" in text
    assert "correlation is 1.00 (95 % interval 1.00 to 1.00)" in text
    assert "best single judge without a teacher, nwot (published), has 1.00" in text
    assert "Only 12 architectures are compared" in text
    assert "near chance" not in text
    assert f"<code>bin/report {folder} --output={tmp_path}/out --reference" in text
    rows = {row["judge"]: row for row in rows_of(made, "spearman-0")}
    assert float(rows["synflow (published)"]["Spearman correlation"]) == -1
    points = rows_of(made, "scatter-0")
    assert points[0].keys() >= {"architecture", "teacher", "nwot (published)"}
    assert {p["architecture"] for p in points} == {
        SPACES["nasbench201"]().encode(cell) for cell in CELLS[:12]
    }
    gains = rows_of(made, "gains-0")
    last = [row for row in gains if row["judge"] == "teacher"][-1]
    assert (float(last["seconds of search"]), float(last["accuracy, %"])) == (24, 91)
    assert "meta-training of the teacher of cifar10" in made and "<td>300</td>" in made
    assert made.count('class="cell"') == 2 * 3  # three best of two
    for term in ("better half", "precision"):
        assert f"<dt>{term}</dt>" in made


def test_the_teacher_that_judged_is_shown_while_it_is_the_same(tmp_path):
    run = write_training(tmp_path / "run", with_teacher=True)
    folder = write_search(
        tmp_path / "t", "teacher", [0.2, 0.7], dataset="digits", teacher=run
    )
    record = tmp_path / "t" / "teacher.json"
    teacher = gtn_tf.load_teacher(run)
    record.write_text(json.dumps(teacher.description))
    made = make(tmp_path, folder)
    rates = rows_of(made, "judges-teacher-learning-rate")
    found = [float(row["learning rate"]) for row in rates]
    assert found == pytest.approx(teacher.hyperparameters["learning_rate"].tolist())
    assert "What the teacher of t shows" in made
    # With its run on the page it is shown once.
    assert "judges-teacher" not in make(tmp_path, folder, run)
    record.write_text(json.dumps(teacher.description | {"seconds": 1.0}))
    assert "judges-teacher" not in make(tmp_path, folder)


def test_scores_near_chance_and_no_agreement_are_warned_of(tmp_path):
    scores = 0.1 + np.random.default_rng(3).normal(size=12) / 1000
    folder = write_search(tmp_path / "t", "teacher", scores, **FLAGS)
    record = {"class_names": list("0123456789")}
    (tmp_path / "t" / "teacher.json").write_text(json.dumps(record))
    path = write_published(tmp_path / "a.json")
    text = head_of(make(tmp_path, folder, reference=path))
    assert "12 of 12 scores by teacher are near chance (10%)" in text
    assert "12 architectures is not shown to agree with" in text
    assert re.search(r"The interval of teacher over all \(-.* has zero in it", text)


def test_a_search_without_a_reference(tmp_path):
    folder = write_search(tmp_path / "t", "teacher", [0.2, 0.7], dataset="digits")
    made = make(tmp_path, folder)
    assert "Of 2 architectures teacher scores one best, with 0.7; without" in made
    assert specs_of(made) == {} and "vegaEmbed=" not in made  # no library for nothing
    assert made.count('class="cell"') == 2 * 2


def test_names_of_folders_are_text(tmp_path):
    folder = write_training(tmp_path / "<img src=x onerror=alert(1)> [a](javascript:b)")
    made = make(tmp_path, folder)
    assert "<img src=x" not in made and 'href="javascript' not in made
    assert "&lt;img src=x onerror=alert(1)&gt; [a](javascript:b)" in made


def test_the_command_prints_its_path_alone(tmp_path, capsys):
    make(tmp_path, write_training(tmp_path / "a"))
    assert capsys.readouterr().out == f"{tmp_path}/out/report.html\n"


def test_a_source_has_one_color_everywhere(tmp_path):
    folders = [
        write_search(tmp_path / "t", "teacher", np.arange(12), **FLAGS),
        write_search(tmp_path / "n", "real_steps", np.arange(12) % 5, **FLAGS),
        write_training(tmp_path / "a", with_teacher=True),
    ]
    path = write_published(tmp_path / "a.json", with_time=True)
    found = {}

    def collect(value):
        if isinstance(value, dict):
            if value.get("field") == "source" and "domain" in value.get("scale", {}):
                scale = value["scale"]
                for name, color in zip(scale["domain"], scale["range"], strict=True):
                    if color.startswith("var"):
                        found.setdefault(name, set()).add(color)
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            collect(each)

    cheap = "naswot+synflow"
    specs = specs_of(make(tmp_path, *folders, reference=path, combine=cheap))
    assert len(specs) >= 10
    collect(specs)
    others = {A2C: {charts.COLORS[A2C]}}  # of pages of policies
    expected = {name: {color} for name, color in charts.COLORS.items()}
    assert found | others == expected


def test_sources_of_judges():
    assert source_of("teacher --teacher=a") == TEACHER
    assert source_of("real_steps") == source_of("search --num_epochs=1") == REAL
    assert source_of("nwot (published)") == PROXY
    assert source_of("params and naswot") == source_of("search and flops") == PROXY
    assert source_of("teacher, params and naswot") == BOTH
    assert source_of("teacher and real_steps") == BOTH


def test_tables_as_files():
    table = Table(("a", "b"), [("x,y", 1 / 3), ("|", float("nan"))])
    text = urllib.parse.unquote(table.csv_address.partition(",")[2])
    assert text == 'a,b\n"x,y",0.3333333333333333\n|,\n'
    assert table.cells == [["x,y", "0.3333"], ["|", ""]]


@pytest.mark.parametrize("name", SPACES)
def test_drawings_show_all_and_nothing_overlaps(name):
    space = SPACES[name]()
    for index in range(10):
        for graph in space.graphs(space.sample(0, index)):
            made = cell_drawing.svg(graph)
            shown = re.findall(r"<text[^>]*>([^<]*)</text>", made)
            nodes = {end for edge in graph.edges for end in edge[:2]}
            operations = [edge.operation for edge in graph.edges if edge.operation]
            assert sorted(shown) == sorted([*nodes, *operations])
            assert made.count("<path") == len(graph.edges)
            for edge in graph.edges:
                assert f"{edge.target} from {edge.source}" in made
            pattern = r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"'
            boxes = [tuple(map(float, box)) for box in re.findall(pattern, made)]
            width = float(re.search(r'viewBox="0 0 (\d+)', made)[1])
            for x, y, own in boxes:
                assert x >= 0 and x + own <= width + 1
                others = [b for b in boxes if b[1] == y and b[0] > x]
                assert all(other[0] >= x + own for other in others)


def test_estimates_over_seeds_and_learners():
    found = run_groups.estimate([[0.1, 0.3], [0.4, 0.4], [0.6, 0.6]])
    expected = stats.t.interval(0.95, 2, 0.4, stats.sem([0.2, 0.4, 0.6]))
    assert found[:3] == pytest.approx((0.4, *np.clip(expected, -1, 1)))
    assert found[3:] == (3, "seeds")
    assert run_groups.estimate([[0.5, 0.7]])[3:] == (2, "learners")
    assert run_groups.estimate([]) is None
    assert run_groups.difference([[0.5]], [[0.5, 0.6]]) is None


def test_the_commit_is_that_of_a_checkout_of_the_package_alone(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", tmp_path, *identity, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    package = tmp_path / "gtn_tf"
    package.mkdir()
    (package / "__init__.py").write_text("")
    told = f"gtn_tf {gtn_tf.__version__}"
    assert provenance.version(package) == told
    git("init", "-q")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-qm", "other")
    assert provenance.version(package) == told  # as in an environment within a checkout
    git("add", "gtn_tf")
    git("commit", "-qm", "package")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert provenance.version(package) == f"{told}, commit {commit}"
    (tmp_path / "other").write_text("changed")
    assert provenance.version(package) == f"{told}, commit {commit} with changes"
