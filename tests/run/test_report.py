"""Reports: one page that is whole, safe, and loads nothing."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from metajax.run import svg

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "input", "br", "img", "link"}
HOSTILE = '"></svg><script>alert(1)</script>&amp;'


class Page(html.parser.HTMLParser):
    """The elements and the texts of a page; fails where a tag is not closed in its place."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return [name for name, _ in self.elements].count(tag)


def _train(command, *more):
    assert command("train", "fake.toml", *more).code == 0


def _check_alone(page: Page) -> None:
    """The page refers to nothing outside of it, and runs no script but its own."""
    assert page.count("script") == page.count("style") == 1
    assert not {name for name, _ in page.elements} & {"link", "img", "iframe", "object", "base"}
    for _, attributes in page.elements:
        assert not attributes.keys() & {"src", "href", "style", "srcset", "action"}
        assert not [name for name in attributes if name.startswith("on")]
    for text in page.texts:
        assert not re.search(r"@import|url\(|eval\(|fetch\(|XMLHttp", text)


def test_a_report_is_one_page_in_the_directory_of_the_run(command, workplace):
    _train(command, "--run-dir", "run")
    result = command("report", "run")
    assert result.code == 0, result.err
    assert result.out.startswith("wrote run/report.html (")
    page = Page((workplace / "run" / "report.html").read_text())
    _check_alone(page)
    for text in (
        "12 of 12",
        "return of the meta-test",
        "random initialisation",
        "loss",
        "fake, after adaptation",
        "algorithm.rate",
        "4 single held-out tasks",
    ):
        assert [one for one in page.texts if text in one], text
    assert command("train", "fake.toml", "--run-dir", "run", "--overwrite").code == 0
    assert not (workplace / "run" / "report.html").exists()


def test_seeds_are_one_curve_and_other_settings_another(command, workplace):
    for seed in (0, 1):
        _train(command, "--run-dir", f"seed-{seed}", "--set", f"train.seed={seed}")
    _train(command, "--run-dir", "rate", "--set", "algorithm.rate=0.2")
    result = command("report", "seed-0", "seed-1", "rate", "--json")
    assert json.loads(result.out)["files"] == ["report.html"]
    page = Page((workplace / "report.html").read_text())
    for text in (
        "fake (rate = 0.1)",
        "fake (rate = 0.2)",
        "fake: mean and range over seeds",
        "Settings that differ",
    ):
        assert text in page.texts
    result = command("report", "seed-0", "seed-1", "./seed-1")
    assert "seed-1: has the settings and the seed of seed-1; leave one of them out" in result.err
    assert {"0.1", "0.2"} <= {*page.texts}


def test_what_comes_from_elsewhere_stays_text(command, workplace):
    name = "run<script>alert(1)<"
    _train(command, "--run-dir", name)
    for path, changes in (
        ("metrics.jsonl", {HOSTILE: 1.5}),
        ("evaluation.json", {"environment": {HOSTILE: HOSTILE, "d": "\ud800"}}),
    ):
        lines = (workplace / name / path).read_text()
        lines = lines.splitlines() if path == "metrics.jsonl" else [lines]
        changed = "".join(json.dumps(json.loads(line) | changes) + "\n" for line in lines)
        (workplace / name / path).write_text(changed)
    result = command("report", name, "--output", "page.html")
    assert result.code == 0, result.err
    page = Page((workplace / "page.html").read_text())
    _check_alone(page)
    assert page.texts.count(HOSTILE) >= 3
    assert name in page.texts


def test_what_is_not_there_or_damaged_is_said(command, workplace):
    _train(command, "--run-dir", "run")
    run = workplace / "run"
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [{**json.loads(line), "loss": None, "returns": None} for line in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records) + "{]\n")
    evaluation = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(
        json.dumps(evaluation | {"returns": [[None, None]] * 4, "environment": None})
    )
    assert command("report", "run").code == 0
    page = Page((run / "report.html").read_text())
    assert "No finite value was recorded." in page.texts
    assert "run: 1 damaged lines of metrics.jsonl are left out." in page.texts
    (run / "evaluation.json").unlink()
    assert command("report", "run").code == 0
    assert "metajax evaluate run" in Page((run / "report.html").read_text()).texts
    (run / "report.html").unlink()
    (run / "metrics.jsonl").write_text(json.dumps(records[0] | {"returns": ["a"]}) + "\n")
    for content, code, said in (
        (None, 1, "metrics.jsonl holds something of another shape"),
        ("{", 2, "evaluation.json: is damaged; write it again: metajax"),
    ):
        if content:
            (run / "evaluation.json").write_text(content)
        result = command("report", "run")
        assert result.code == code
        assert said in result.err
        assert not (run / "report.html").exists()
    assert "is not a run directory" in command("report", "run", "nowhere").err
    for name in ("report", "export"):
        assert "there is no directory no" in command(name, "run", "--output", "no/a").err
        assert "is a directory; allowed: a file" in command(name, "run", "--output", "run").err


def test_a_gap_is_no_line_and_a_curve_outside_has_its_value():
    x, y = np.arange(4.0), np.array([1.0, np.nan, 2.0, 3.0])
    far = svg.Line("far", x, np.array([2.0, -50.0, 2.0, 2.0]), None, 1, "dashed")
    lines = [svg.Line("near", x, y, (y - 0.5, y + 0.5))]
    figure = svg.chart("title", lines, "x", "y", others=[far], references={"oracle": 3.5})
    curve = figure.findall(".//g[@class='c0 solid']/path[@class='curve']")[-1]  # after the legend
    assert re.sub(r"[\d.,]+", "", curve.attrib["d"]) == "MML"
    texts = [one.text for one in figure.iter("text")]
    assert "−50.0 ↓" in texts
    assert "1.00" not in texts
    assert [one.text for one in figure.iter("li")] == [None] * 3


def test_ways_lie_where_they_were():
    ground = svg.Map(4, -0.5, cells=True, walls=[(0, 0)])
    way = np.array([[[0, 0], [3, 0], [3, 3]]])
    figure = svg.ways("task", ground, {"goal": np.array([3, 3])}, [way])
    (line,), (wall,) = figure.iter("polyline"), figure.findall(".//rect[@class='wall']")
    assert line.attrib["points"] == "25.0,175.0 175.0,175.0 175.0,25.0"
    assert (wall.attrib["x"], wall.attrib["y"]) == ("0", "150")
    (goal,) = figure.findall(".//circle[@class='mark m0']")
    assert (goal.attrib["cx"], goal.attrib["cy"]) == ("175.0", "25.0")


def test_pulls_are_in_the_rows_of_their_arms():
    figure = svg.pulls("task", np.array([0.2, 0.9]), np.array([0, 1, 1, 0]), [2])
    assert len(figure.findall(".//rect[@class='pull']")) == 2
    assert len(figure.findall(".//rect[@class='pull best']")) == 2
    assert [one.text for one in figure.iter("text")] == ["0.20", "0.90"]


RL2 = """
[family]
name = "{}"
[algorithm]
name = "rl2"
num-tasks = 4
hidden-size = 4
[train]
num-iterations = 2
[evaluate]
num-tasks = 4
"""


def _opened(tmp_path, path) -> str:
    """The page as Chromium has it after its script, which must have run without a message."""
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"),
    ]
    words = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.further
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_opens_it_and_its_films_play(command, workplace, tmp_path):
    for family in ("gridnavi", "bernoulli-bandit"):
        (workplace / "rl2.toml").write_text(RL2.format(family))
        assert command("train", "rl2.toml", "--run-dir", family).code == 0
    result = command("report", "gridnavi", "bernoulli-bandit", "--output", "page.html")
    assert result.code == 0, result.err
    opened = _opened(tmp_path, workplace / "page.html")
    assert "step 15 of 15" in opened
    assert 'class="pull' in opened
    text = (workplace / "page.html").read_text()
    free = re.sub(r"<meta http-equiv[^>]*>", "", text)
    for script, said in (
        ("slider.value = 3; slider.dispatchEvent(new Event('input'))", "step 3 of 15: 4 points"),
        ("document.querySelector('button').click()", "step 0 of 15: 1 points"),
        ("document.querySelector('button').click(); setTimeout(tell, 9000)", "step 15 of 15: 16"),
    ):
        tell = "const tell = () => { const points = document.querySelector('polyline').points;"
        tell += "document.title = document.querySelector('output').value + `: ${points.length} "
        tell += "points`; }; const slider = document.querySelector('input');"
        changed = free.replace("</body>", f"<script>{tell}{script}; tell()</script></body>")
        (workplace / "changed.html").write_text(changed)
        assert f"<title>{said}" in _opened(tmp_path, workplace / "changed.html")
    hostile = text.replace("</main>", "<script>document.title = 'bad'</script></main>")
    (workplace / "changed.html").write_text(hostile)
    with pytest.raises(AssertionError, match="Content Security Policy"):
        _opened(tmp_path, workplace / "changed.html")
