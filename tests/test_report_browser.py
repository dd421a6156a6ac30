"""The report's page in a browser: it draws, asks for nothing, and obeys the keyboard.

Without Chromium these tests are skipped, but where CI says that it is a CI they fail.
"""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from report_runs import (
    write_inner_steps,
    write_published,
    write_search,
    write_training,
)

from nas.commands import report
from nas.commands.report import ReportConfig

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-sync", "--virtual-time-budget=20000"),
    *("--allow-file-access-from-files", "--enable-logging=stderr", "--v=0"),
]
NARROW = 360  # pixels, in a frame: a window is at least 500 wide

# Waits for the page in a frame, uses its keyboard, and writes down what there is.
HARNESS = """<!DOCTYPE html><iframe id=frame src="%s" width=360 height=900></iframe>
<pre id=found></pre><script>
const frame = document.getElementById("frame");
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
frame.onload = async () => {
  const page = frame.contentDocument;
  for (let i = 0; i < 200 && page.body.dataset.drawn === undefined; i++) await wait(50);
  const charts = [...page.querySelectorAll(".chart")].map((place) => ({
    figure: place.dataset.figure,
    marks: place.querySelectorAll("[aria-roledescription]").length,
    label: [place, ...place.querySelectorAll("[aria-label]")]
      .find((each) => each.getAttribute("aria-roledescription") === "visualization")
      ?.ariaLabel ?? "",
    width: place.querySelector("svg")?.getBoundingClientRect().width || 0,
    ticks: [...place.querySelectorAll(".role-axis-label text")]
      .map((text) => text.textContent),
  }));
  const key = (target, name) => target.dispatchEvent(
    new frame.contentWindow.KeyboardEvent("keydown", { key: name, bubbles: true }));
  const buttons = [...page.querySelectorAll(".images button")];
  const reached = buttons.filter((button) => button.tabIndex === 0).length;
  buttons[0].focus();
  key(buttons[0], "ArrowRight");
  key(page.activeElement, "ArrowDown");
  const moved = page.activeElement.title;
  page.activeElement.click();
  const dialog = page.querySelector("dialog");
  const opened = dialog.open && dialog.querySelector("img").alt;
  dialog.querySelector("button").click();
  const select = page.querySelector("#scatter-0 select");
  const places = () => [...page.querySelectorAll("#scatter-0 .mark-symbol path")]
    .map((path) => path.getAttribute("transform")).join();
  const before = places();
  select.selectedIndex = 1;
  select.dispatchEvent(new frame.contentWindow.Event("change", { bubbles: true }));
  select.dispatchEvent(new frame.contentWindow.Event("input", { bubbles: true }));
  await wait(200);
  document.getElementById("found").textContent = JSON.stringify({
    drawn: Number(page.body.dataset.drawn), charts, reached, moved, opened,
    closed: !dialog.open, changed: before !== "" && places() !== before,
    widths: [frame.contentWindow.innerWidth, page.documentElement.scrollWidth],
    unnamed: page.querySelectorAll("img:not([alt]), figure:not([aria-describedby])")
      .length,
    sections: page.querySelectorAll("section").length,
  });
};
</script>"""


@pytest.fixture(scope="module")
def browser():
    """The path of Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("Chromium is not here, and CI has to look at the page: .ci/run")
    return path or pytest.skip(f"looks at the page: needs one of {', '.join(NAMES)}")


def look(browser, folder, *arguments):
    """Standard output, messages of the console, and addresses that were asked for."""
    profile, log = folder / "profile", folder / "net.json"
    options = [*FLAGS, f"--user-data-dir={profile}", f"--log-net-log={log}"]
    done = subprocess.run(
        [browser, *options, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shutil.rmtree(profile, ignore_errors=True)
    messages = re.findall(r"CONSOLE.*", done.stderr)
    requests = [
        event.get("params", {}) for event in json.loads(log.read_text())["events"]
    ]
    asked = {
        each["url"]
        for each in requests
        if not each.get("url", "data:").startswith(("data:", "file:", "blob:"))
        # The browser asks on its own behalf, too.
        and each.get("initiator", "not an origin") != "not an origin"
    }
    return done.stdout, messages, asked


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with all kinds of sections."""
    folder = tmp_path_factory.mktemp("report")
    flags = {"space": "nasbench201", "dataset": "cifar10"}
    training = write_training(folder / "a", with_teacher=True)
    steps = np.linspace(0.1, 0.9, 10) + np.array([[0], [0.05]])
    write_inner_steps(folder / "a", {"gtn": steps, "real": steps - 0.1})
    folders = [
        training,
        write_training(folder / "b", seed=1, teacher=0.92),
        write_search(folder / "t", "teacher", np.arange(12) / 12, **flags),
        write_search(folder / "p", "params", np.arange(12) % 5, **flags),
    ]
    path = write_published(folder / "a.json", with_time=True)
    return report.run(ReportConfig(",".join(folders), str(folder / "out"), path))


def test_errors_and_requests_would_be_seen(browser, tmp_path):
    (tmp_path / "a.html").write_text(
        '<script>console.error("seen"); fetch("http://127.0.0.1:9/x")</script>'
    )
    _, messages, asked = look(browser, tmp_path, "--dump-dom", f"{tmp_path}/a.html")
    assert any("seen" in message for message in messages)
    assert "http://127.0.0.1:9/x" in asked


def test_the_page_in_a_narrow_frame(browser, page, tmp_path):
    harness = tmp_path / "harness.html"
    harness.write_text(HARNESS % page.as_uri())
    out, messages, asked = look(browser, tmp_path, "--dump-dom", harness.as_uri())
    assert messages == [] and asked == set()
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', out, re.DOTALL)[1])
    text = page.read_text()
    keys = re.findall(r'class="chart" data-figure="([\w-]+)"', text)
    assert found["drawn"] == len(keys) >= 10
    assert [chart["figure"] for chart in found["charts"]] == keys
    for chart in found["charts"]:
        assert chart["marks"] > 5 and len(chart["label"]) > 30, chart
        assert 200 < chart["width"] <= NARROW, chart
    assert found["widths"] == [NARROW, NARROW]
    assert found["unnamed"] == 0 and found["sections"] >= 7
    assert found["reached"] == 1
    assert found["moved"] == found["opened"] == "class 1, inner step 2"
    assert found["closed"] and found["changed"]
    (inner,) = [c for c in found["charts"] if c["figure"] == "inner-loop"]
    steps = [tick for tick in inner["ticks"] if "%" not in tick]
    assert steps and all(tick.isdecimal() for tick in steps)


@pytest.mark.parametrize("scheme, paper", [("light", 0xFF), ("dark", 0x14)])
def test_the_page_follows_the_readers_scheme(browser, page, tmp_path, scheme, paper):
    shot = tmp_path / "shot.png"
    number = ("dark", "light").index(scheme)
    _, messages, asked = look(
        browser,
        tmp_path,
        f"--blink-settings=preferredColorScheme={number}",
        "--window-size=900,9000",
        f"--screenshot={shot}",
        page.as_uri(),
    )
    assert messages == [] and asked == set()
    pixels = tf.io.decode_png(shot.read_bytes(), channels=3).numpy()
    assert pixels.shape == (9000, 900, 3)
    assert pixels[5, 5, 0] == paper
    colors = {"light": (0x0063B1, 0xB64300), "dark": (0x6CB8FF, 0xFF9C5B)}
    flat = pixels.astype(int) @ [1 << 16, 1 << 8, 1]
    for color in colors[scheme]:  # lines and points of the teacher and of real data
        assert (flat == color).sum() > 100
    for color in colors["dark" if scheme == "light" else "light"]:
        assert (flat == color).sum() == 0
