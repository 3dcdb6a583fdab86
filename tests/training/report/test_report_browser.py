"""The report in headless Chromium: it fits a phone, says nothing on the console, and axe-core finds no barrier."""

import html
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from reports import config, digits, diverged, hundred, made_hostile, make, measured, predictions, seeing, two

from convcraft.training import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<!doctype html><title>no result</title>{frames}<script>
onload = () => {{
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, boxes = [];
    for (const svg of page.querySelectorAll("svg")) {{
      const texts = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
      const outer = svg.getBoundingClientRect();
      texts.forEach(([text, a], i) => {{
        if (a.left < outer.left - 1 || a.right > outer.right + 1) boxes.push(text + " sticks out");
        for (const [other, b] of texts.slice(i + 1))
          if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
            boxes.push(text + " over " + other);
      }});
    }}
    return [page.documentElement.scrollWidth, boxes];
  }}));
}};
</script>"""
CONTROL = """<!doctype html>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<div style="width:500px">wide</div><img src="picture.png">
<svg viewBox="0 0 100 100"><text x="10" y="20">one</text><text x="12" y="22">two</text></svg>"""


AXE = importlib.util.find_spec("axe_core_python")
RUN_AXE = """<!doctype html><title>no result</title>{frames}<script>
onload = async () => {{
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {{
    const {{violations, passes}} = await frame.contentWindow.axe.run();
    found.push([violations.map(each => each.id + ": " + each.nodes[0].html + " " + each.nodes[0].failureSummary),
      passes.length]);
  }}
  document.title = JSON.stringify(found);
}};
</script>"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to render with")


def opened(path, profile):
    """The title of a page once its script has set it, and what Chromium has logged."""
    options = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
        "--disable-sync --no-first-run --allow-file-access-from-files --enable-logging=stderr --hide-scrollbars "
        "--virtual-time-budget=600000"
    )
    command = [CHROMIUM, *options.split(), f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    title = html.unescape(re.search("<title>(.*?)</title>", done.stdout, re.S)[1])
    return json.loads(title), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def several(directory):
    """A run of two seeds."""
    about = config()
    about["config"] = {**about["config"], "seeds": 2, "seed": 0}
    arrays = predictions(*digits())
    for seed in range(2):
        make(directory / f"seed-{seed}")
    one = measured(arrays)
    test = {**one["test"], "accuracy_std": 0.01, "accuracy_interval": [0.8, 0.9], "loss_std": 0.1, "seeds": [0, 1]}
    runs = [{"seed": seed, "test": {**one["test"], "accuracy": 0.8 + seed / 10}} for seed in range(2)]
    metrics = {"test": test, "seconds": 60.0, "chosen": 0, "runs": runs}
    return make(directory, config=about, metrics=metrics, absent=("history", "predictions"))


def full(directory):
    """A run with every section."""
    arrays = predictions(*digits())
    return make(directory, arrays=seeing(arrays), metrics={**measured(arrays), "temperature": 0.4})


def other(directory):
    """The same images, seen by a worse network."""
    labels, probabilities, images = digits()
    noisy = probabilities + np.random.default_rng(1).uniform(0, 0.3, probabilities.shape)
    noisy = (noisy / noisy.sum(1, keepdims=True)).astype("float32")
    return make(directory, arrays=predictions(labels, noisy, images))


def test_a_phone_shows_it_without_sideways_scrolling_or_overlap(tmp_path):
    runs = [full(tmp_path / "digits"), hundred(tmp_path / "hundred"), two(tmp_path / "two")]
    runs += [made_hostile(tmp_path / "hostile"), diverged(tmp_path / "diverged"), several(tmp_path / "several")]
    control = tmp_path / "control.html"  # shows that this test sees what it looks for
    control.write_text(CONTROL)
    pages = [report.write(run) for run in runs]
    pages += [report.compare(runs[0], other(tmp_path / "other")), report.compare(runs[3], runs[1]), control]
    frames = "".join(
        f'<iframe src="{path.as_uri()}" style="border:0;height:800px;width:{width}px"></iframe>'
        for path in pages
        for width in (360, 1200)
    )
    (tmp_path / "measure.html").write_text(MEASURE.format(frames=frames))
    (*found, (control_width, control_overlaps), _), messages = opened(tmp_path / "measure.html", tmp_path / "profile")
    assert control_width >= 500 and control_overlaps == ["one over two"]
    for (path, width), (scroll_width, overlaps) in zip(
        ((path, width) for path in pages[:-1] for width in (360, 1200)), found, strict=True
    ):
        assert scroll_width <= width, path
        assert not overlaps, path
    assert any("control.html" in line for line in messages)
    assert not [line for line in messages if "control.html" not in line]


@pytest.mark.skipif(AXE is None, reason="axe-core is not installed: pip install axe-core-python")
def test_axe_finds_nothing_that_keeps_readers_out(tmp_path):
    axe = (pathlib.Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")
    (tmp_path / "axe.js").write_text(axe)
    one = full(tmp_path / "digits")
    sources = [report.write(run) for run in (one, hundred(tmp_path / "hundred"), several(tmp_path / "several"))]
    sources.append(report.compare(one, other(tmp_path / "other")))
    pages = []
    for path in sources:
        plain, count = POLICY.subn("", path.read_text("utf-8"))  # which forbids scripts, axe's too
        assert count == 1
        for theme in ("light", "dark"):
            page = plain.replace("(prefers-color-scheme:dark)", "(min-width:1px)") if theme == "dark" else plain
            page = page.replace("</head>", '<script src="axe.js"></script></head>')
            pages.append(tmp_path / f"{len(pages)}-{theme}.html")
            pages[-1].write_text(page)
    control = tmp_path / "control.html"
    control.write_text(
        '<!doctype html><html lang="en"><title>x</title><script src="axe.js"></script><main><h1>x</h1>'
        '<p style="color:#ccc;background:#fff">pale</p><img src="data:,"></main></html>'
    )
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="width:1200px;height:900px"></iframe>' for page in [*pages, control]
    )
    (tmp_path / "all.html").write_text(RUN_AXE.format(frames=frames))
    (*found, (planted, _)), _ = opened(tmp_path / "all.html", tmp_path / "profile")
    assert {each.split(":")[0] for each in planted} >= {"color-contrast", "image-alt"}
    for page, (violations, passes) in zip(pages, found, strict=True):
        assert not violations, page.name
        assert passes > 20, page.name
