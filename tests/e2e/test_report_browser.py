"""The report in a real browser, from a file, with no network: do the figures really appear?"""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import pytest
from browser import NAMES, find_browser

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults, TrialCurve

FIGURES = (
    "why-0",
    "why-1",
    "anytime-0",
    "recommendations-0",
    "parameters-0",
    "parameters-1",
    "parallel-0",
    "learning-0",
    "learning-1",
)
GRIDS = tuple(name for name in FIGURES if name.startswith(("parameters", "learning")))
NASTY = "</title><script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")
    return found


def dump_dom(browser: str, page: Path, profile: Path, *options: str) -> str:
    """The document after its scripts have run."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=10000",
        *options,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def one_run(arm: str, repeat: int, error: float) -> ArmRun:
    steps = tuple(Step(5 * n + 5, n, 5, error + 0.05 * (3 - n), True) for n in range(4))
    recommended = Recommendation(
        3, {"lr": 0.01, "momentum": 0.9}, error, (error - 0.02,), (error - 0.01,)
    )
    return ArmRun(arm, repeat, 20, 20, 60.0, {"complete": 4}, steps, recommended)


def write(out: Path, arms: tuple[str, str]) -> Path:
    runs = tuple(
        one_run(arm, repeat, 0.3 + 0.02 * place + 0.001 * repeat)
        for place, arm in enumerate(arms)
        for repeat in range(3)
    )
    trials = [
        TrialCurve(
            run.arm,
            run.repeat,
            step.trial,
            "complete",
            {"lr": 10.0**-step.trial, "momentum": 0.8 + 0.04 * step.trial},
            {epoch: step.error + 0.5 * math.exp(-epoch) for epoch in range(1, 6)},
        )
        for run in runs
        for step in run.steps
    ]
    results = StudyResults(NASTY, arms, 3, 5, 0.9, runs)
    return write_report(ReportData(results, compare(results), trials), out)


def figure_part(dom: str, name: str) -> str:
    """What lies between this figure's element and the next figure's."""
    start = dom.index(f'id="figure-{name}"')
    end = dom.find('id="figure-', start + 1)
    return dom[start:end] if end > 0 else dom[start:]


@pytest.fixture(scope="module")
def dom(browser: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    page = write(folder / "report", ("bayes", "hand"))
    return dump_dom(browser, page, folder / "profile", "--window-size=1200,1000")


@pytest.mark.slow
class TestInABrowser:
    @pytest.mark.parametrize("name", FIGURES)
    def test_every_figure_is_drawn(self, dom: str, name: str) -> None:
        part = figure_part(dom, name)
        assert part.count('class="main-svg"') >= 2  # the plot and its overlay
        drawn = re.findall(r'<path class="(?:point|js-line)"[^>]* d="M[^"]+"', part)
        assert len(drawn) >= 2

    def test_there_are_no_other_figures(self, dom: str) -> None:
        assert sorted(set(re.findall(r'id="figure-([\w-]+)"', dom))) == sorted(FIGURES)

    def test_axes_have_their_titles(self, dom: str) -> None:
        for title in ("validation error, %", "test error of the recommendation, %", "momentum"):
            assert re.search(rf'class="[xy]title"[^>]*>{title}<', dom)

    def test_a_name_is_text_and_never_runs(self, dom: str) -> None:
        title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
        assert title is not None
        assert title.group(1).startswith("&lt;/title&gt;&lt;script&gt;")
        assert "<h1>&lt;/title&gt;&lt;script&gt;" in dom


@pytest.mark.slow
def test_grids_are_drawn_at_their_final_width(browser: str, tmp_path: Path) -> None:
    """Figures side by side must not overlap: each is at most its share of the page wide."""
    page = write(tmp_path / "report", ("bayes", NASTY))
    dom = dump_dom(browser, page, tmp_path / "profile", "--window-size=1200,1000")
    for name in GRIDS:
        width = re.search(r'class="main-svg"[^>]* width="([\d.]+)"', figure_part(dom, name))
        assert width is not None
        assert float(width.group(1)) < 400
    assert "owned" not in re.findall(r"<title>(.*?)</title>", dom, re.DOTALL)
