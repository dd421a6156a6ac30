"""The site: pages, docstrings and the links between them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
DOCS = CHECKOUT / "docs"

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Sphinx of constraints.txt needs Python 3.11"
)


def build(source, output):
    options = ["--quiet", "--fail-on-warning", "--keep-going"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(output)],
        cwd=CHECKOUT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    output = tmp_path_factory.mktemp("site")
    result = build(DOCS, output)
    assert result.returncode == 0, result.stderr
    return output


def test_every_page_is_in_the_site(site):
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert pages >= {"index", "troubleshooting", "many_machines", "gpu", "api", "cite"}
    front = (site / "index.html").read_text()
    for page in pages - {"index"}:
        assert (site / f"{page}.html").is_file(), page
        assert f'href="{page}.html"' in front, f"no way to {page} from the front page"


def test_the_interface_has_its_docstrings(site):
    page = (site / "api.html").read_text()
    assert 'id="gtn_tf.LoadedTeacher.teach"' in page
    assert 'id="nas.spaces.base.SearchSpace.decode"' in page
    # Code in a docstring stands as code.
    assert '<pre><span></span><span class="n">model</span>' in page


def test_no_page_asks_another_address(site):
    for page in site.glob("*.html"):
        for tag in ('src="http', 'src="//', '<link rel="stylesheet" href="http'):
            assert tag not in page.read_text(), page


def test_dead_links_fail(tmp_path):
    """To a page, and to a section: each is told."""
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    kept = ("conf.py", "index.md", "train.md", "teacher.png")
    for path in (tmp_path / "docs").iterdir():
        if path.name not in kept:
            path.unlink()
    (tmp_path / "docs" / "train.md").write_text("# Train\n\nText.\n")
    (tmp_path / "docs" / "index.md").write_text(
        "# Front\n\n[x](no_such_page.md), [y](train.md#nowhere)\n\n"
        "```{toctree}\ntrain\n```\n"
    )
    result = build(tmp_path / "docs", tmp_path / "site")
    assert result.returncode != 0
    told = [line for line in result.stderr.splitlines() if "index.md:3: WARN" in line]
    assert len(told) == 2 and "no_such_page" in told[0] + told[1]
    assert "nowhere" in told[0] + told[1]
