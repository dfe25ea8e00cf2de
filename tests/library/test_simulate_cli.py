"""Tests of the simulator's commands: tables, JSON, files, and bad input."""

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from eks_inference import Accelerator, Capacity
from eks_inference.cli.main import app
from eks_inference.cli.runs import prepare, run_several
from eks_inference.cli.simulate import Asked
from eks_inference.planning import Load, checkpoint, make_plan
from eks_inference.simulation.compare import POLICY_NAMES, measures
from eks_inference.simulation.generators import bundled, step
from eks_inference.simulation.policies import KedaScaling
from eks_inference.simulation.results import Result as Run
from eks_inference.simulation.run import simulate
from eks_inference.simulation.scenario import Scenario
from eks_inference.simulation.trace_files import read_trace

NAMES = ", ".join(map(repr, (*POLICY_NAMES, "fixed:N")))
ASKED: dict[str, Any] = {
    "model": "mistral-7b-awq",
    "gpu": ["l4"],
    "min_replicas": 1,
    "max_replicas": 2,
    "max_model_len": None,
    "seed": 0,
    "rate_factor": 1.0,
    "slo_first_token": 2.0,
    "spot_ratio": None,
    "interruptions_per_hour": 0.0,
    "headroom": 0,
}
"""What a call without options asks, but for the number of replicas."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step from 0.2 to 3 requests per second, in the form of Vidur."""
    path = tmp_path_factory.mktemp("traces") / "step.csv"
    rows = [
        f"{item.arrival},{item.prompt_tokens},{item.answer_tokens}"
        for item in step(0.2, 3, at=60, duration=180).requests
    ]
    header = "arrived_at,num_prefill_tokens,num_decode_tokens"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run(line: str) -> Result:
    """Run a command in this process; it ends by itself, not by an exception."""
    result = CliRunner().invoke(app, shlex.split(line))
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result


def answer(line: str, status: int = 0) -> str:
    """Return what a command prints, with nothing said of its input."""
    result = run(line)
    assert (result.exit_code, result.stderr) == (status, "")
    return result.stdout


def read(line: str) -> Any:
    """Return what a command prints as JSON, which has no NaN and no Infinity."""
    return json.loads(answer(f"{line} --json"), parse_constant=pytest.fail)


def errors(line: str) -> list[str]:
    """Return what is said of bad input, with status 2 and nothing printed."""
    result = run(line)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr.splitlines()


def expected(path: Path, *, seed: int = 0, length: int | None = None) -> Run:
    """Return the run of the default model with the default policy."""
    asked = read_trace(path)
    plan = make_plan(
        checkpoint("mistral-7b-awq"),
        accelerators=[Accelerator.L4],
        capacity=Capacity.on_demand(),
        max_model_len=length,
        load=Load(
            requests_per_second=asked.rate,
            prompt_tokens=asked.prompt_lengths.mean,
            answer_tokens=asked.answer_lengths.mean,
        ),
    )
    asked = asked if length is None else asked.clipped(length)
    return simulate(Scenario(plan=plan), asked, KedaScaling(), seed=seed)


def test_json_has_the_numbers_of_the_result(trace: Path) -> None:
    """Requests, percentiles, replicas, starts and cost are those of ``Result``."""
    found, result = read(f"simulate {trace} --seed 2"), expected(trace, seed=2)
    judged = measures(result, slo_first_token=2)
    assert found["requests"] == {
        "all": len(result.outcomes),
        "answered": len(result.finished),
        "lost": result.lost,
        "late_share": result.late(2),
    }
    for name, times in found["seconds"].items():
        assert times == {
            key: judged[f"{name}_{key}_seconds"] for key in ("p50", "p90", "p99")
        }
    assert found["replicas"] == {
        "mean": result.mean_replicas,
        "most": result.most_replicas,
    }
    assert found["nodes"] == {"launched": len(result.nodes), "interrupted": 0}
    assert found["cold_starts"] == {
        "count": len(result.cold_starts),
        "p50_seconds": judged["cold_start_p50_seconds"],
        "most_seconds": max(result.cold_starts, default=None),
    }
    assert found["cost"] == {
        "gpu_hours": result.gpu_hours,
        "usd": result.usd,
        "usd_per_million_output_tokens": judged["usd_per_million_output_tokens"],
    }
    assert (found["policy"], found["seed"]) == ("queue", 2)


def test_the_timeline_adds_up_to_the_result(trace: Path) -> None:
    """Its steps have all requests, and on average as many replicas as the run."""
    found = read(f"simulate {trace}")
    steps, length = found["timeline"], found["trace"]["seconds"]
    assert [item["start_seconds"] for item in steps[:3]] == [0, 30, 60]
    ends = [item["start_seconds"] for item in steps[1:]] + [length]
    spans = [end - item["start_seconds"] for item, end in zip(steps, ends, strict=True)]
    requests = sum(
        item["requests_per_second"] * span
        for item, span in zip(steps, spans, strict=True)
    )
    replicas = sum(
        item["ready_replicas"] * span for item, span in zip(steps, spans, strict=True)
    )
    assert requests == pytest.approx(found["requests"]["all"])
    assert replicas / length == pytest.approx(found["replicas"]["mean"])


def test_a_seed_decides_everything(trace: Path) -> None:
    """The same seed gives the same text; another one gives another."""
    line = f"simulate {trace} --policy guide --json"
    assert answer(line) == answer(f"{line} --seed 0") != answer(f"{line} --seed 1")


def test_simulate_works_out_of_the_box() -> None:
    """Without arguments the bundled trace runs, and the table has what matters."""
    text = answer("simulate")
    rows = (
        "model     mistral-7b-awq",
        "nodes     g6.xlarge, on-demand",
        f"load      {len(bundled().requests):,} requests in 3,600 s",
        "requests answered",
        "lost                           0",
        "no first token in 2 s",
        "to the first token",
        "per output token",
        "to the last token",
        "cold starts",
        "GPU-hours",
        "USD per million output tokens",
        "0:55:00",
    )
    assert [row for row in rows if row not in text] == []
    assert max(map(len, text.splitlines())) <= 110
    assert "…" not in text


def test_the_output_says_what_was_done_to_the_trace(trace: Path) -> None:
    """A rate that was changed and requests that were cut stand in both outputs."""
    line = f"simulate {trace} --rate-factor 2 --max-model-len 1024"
    notes = read(line)["trace"]["notes"]
    assert len(notes) == 2
    assert notes[0].startswith("times divided by 2: ")
    assert "requests clipped to 1,024 tokens" in notes[1]
    text = answer(line)
    assert all(note in text for note in notes)
    assert read(f"simulate {trace}")["trace"]["notes"] == []


def test_a_length_is_that_of_the_run(trace: Path) -> None:
    """Cut requests give the numbers of a cut trace."""
    found = read(f"simulate {trace} --max-model-len 1024")
    result = expected(trace, length=1024)
    assert found["seconds"]["latency"]["p90"] == result.latency(0.9)
    assert found["requests"]["lost"] == {}


def test_spot_is_cheaper_and_is_interrupted(trace: Path) -> None:
    """With a spot price nodes are spot nodes, which can be interrupted."""
    plain = read(f"simulate {trace} --policy fixed:2")
    spot = read(f"simulate {trace} --policy fixed:2 --spot-ratio 0.25")
    assert spot["cost"]["usd"] == pytest.approx(plain["cost"]["usd"] / 4)
    assert (plain["capacity"], spot["spot_ratio"]) == (["on-demand"], 0.25)
    assert "spot" in spot["capacity"]
    often = f"simulate {trace} --spot-ratio 0.25 --interruptions-per-hour 30"
    assert read(often)["nodes"]["interrupted"] > 0
    assert " interrupted" in answer(often)


def test_headroom_costs_nodes(trace: Path) -> None:
    """Empty nodes that are kept are paid for."""
    plain = read(f"simulate {trace} --policy fixed:1")
    kept = read(f"simulate {trace} --policy fixed:1 --headroom 2")
    assert kept["cost"]["gpu_hours"] == pytest.approx(plain["cost"]["gpu_hours"] * 3)


def test_a_policy_runs_within_its_replicas(trace: Path) -> None:
    """The fewest replicas serve at rest, a fixed number always."""
    least = read(f"simulate {trace} --min-replicas 3 --max-replicas 4")
    assert least["replicas"] == {"mean": 3, "most": 3}
    assert least["notes"] == read(f"simulate {trace}")["notes"]
    guide = read(f"simulate {trace} --min-replicas 3 --policy guide")
    assert guide["notes"][-1] == "guide has a minimum of its own: 1"
    fixed = read(f"simulate {trace} --policy fixed:4 --max-replicas 4")
    assert fixed["replicas"] == {"mean": 4, "most": 4}


def test_csv_files_have_everything_that_happened(trace: Path, tmp_path: Path) -> None:
    """Four files, whose rows are the result's, in seconds since the trace began."""
    found = read(f"simulate {trace} --csv {tmp_path}/deep/csv")
    result = expected(trace)
    tables = {
        path.name: list(csv.DictReader(path.read_text().splitlines()))
        for path in (tmp_path / "deep/csv").iterdir()
    }
    assert {name: len(rows) for name, rows in tables.items()} == {
        "requests.csv": len(result.outcomes),
        "replicas.csv": len(result.replicas),
        "queue.csv": len(result.queue),
        "nodes.csv": len(result.nodes),
    }
    waits = sorted(float(row["time_to_first_token"]) for row in tables["requests.csv"])
    assert found["seconds"]["first_token"]["p50"] == waits[(len(waits) + 1) // 2 - 1]
    first = tables["requests.csv"][0]
    assert float(first["arrival"]) == pytest.approx(0)
    assert int(first["prompt_tokens"]) == result.outcomes[0].request.prompt_tokens
    assert first["lost"] == ""
    assert [float(row["time"]) for row in tables["queue.csv"][:2]] == [0, 5]
    assert tables["nodes.csv"][0]["instance"] == "g6.xlarge"


def test_a_model_that_does_not_fit_is_not_run(trace: Path) -> None:
    """Status 1, with the reason and what would fit, for both commands."""
    for command in ("simulate", "compare"):
        text = answer(f"{command} {trace} --model llama-3.1-70b --gpu t4", 1)
        assert "llama-3.1-70b does not fit" in text


def test_compare_has_means_intervals_and_ratios(trace: Path) -> None:
    """JSON has each measure with its interval; the first policy's ratios are 1."""
    line = f"compare {trace} --policies fixed:1,queue,fixed:2 --seeds 3 --seed 5"
    found = read(line)
    assert found["seeds"] == [5, 6, 7]
    first, queue, second = found["policies"]
    assert [item["policy"] for item in found["policies"]] == [
        "fixed 1",
        "queue",
        "fixed 2",
    ]
    assert first["measures"]["usd"]["ratio"] == 1
    assert first["measures"]["cold_start_p50_seconds"] is None
    assert second["measures"]["usd"]["ratio"] == pytest.approx(2)
    assert second["measures"]["mean_replicas"]["half_width"] == 0
    values = [
        measures(expected(trace, seed=seed), slo_first_token=2)["usd"]
        for seed in (5, 6, 7)
    ]
    mean = sum(value for value in values if value) / 3
    assert queue["measures"]["usd"]["mean"] == pytest.approx(mean)
    assert answer(f"{line} --json") == answer(f"{line} --json")


def test_compare_prints_tables_and_no_progress(trace: Path) -> None:
    """Every policy has a row of means and one of ratios; a pipe sees no bar."""
    text = answer(f"compare {trace} --seeds 2 --policies queue,fixed:2")
    starts = [row.split("  ")[0] for row in text.splitlines()]
    assert [starts.count(name) for name in ("queue", "fixed 2")] == [4, 4]
    assert starts.count("as a multiple of queue") == 2
    assert "±" in text
    assert "Mean of 2 runs (seeds 0 to 1)" in text
    single = answer(f"compare {trace} --seeds 1 --policies queue")
    table = single[: single.index("Times in seconds")]
    assert "±" not in table


def test_a_terminal_sees_how_far_a_comparison_is(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal there is a bar on the standard error, and none of it in JSON."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("eks_inference.cli.runs.sys.stderr", screen)
    asked = Asked(trace=trace, **ASKED)
    found = run_several(prepare(asked, ["fixed:1"], seeds=2))
    assert json.dumps(found)
    assert "runs" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_compare_runs_every_policy(trace: Path) -> None:
    """By default all policies are there, whole cells and at most 110 columns."""
    text = answer(f"compare {trace} --seeds 1")
    assert "perfect foresight" in text
    assert max(map(len, text.splitlines())) <= 110
    assert "…" not in text


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_help_has_an_example_that_runs(command: str, tmp_path: Path) -> None:
    """The example of the help is a command that works as it stands."""
    text = answer(f"{command} --help")
    (example,) = (row for row in text.splitlines() if "Example: " in row)
    words = shlex.split(example.partition("eks-inference ")[2])
    assert words[0] == command
    words = [str(tmp_path / item) if ".html" in item else item for item in words]
    assert answer(shlex.join(words)) != ""


BAD_CALLS = [
    ("--policy keda", [f"'policy' must be one of {NAMES}, got 'keda'"]),
    (
        "--policy fixed:11",
        ["'policy' must be fixed:1 to fixed:10, got 'fixed:11'; raise 'max_replicas'"],
    ),
    ("--seed -1", ["'seed' must be at least 0, got -1"]),
    (
        "--slo-first-token nan",
        ["'slo_first_token' must be 0.001 to 86400, got nan"],
    ),
    ("--headroom -1", ["'headroom' must be 0 to 1000, got -1"]),
    (
        "--interruptions-per-hour 2",
        [
            (
                "'interruptions_per_hour' must be 0 without 'spot_ratio', got 2.0; "
                "only spot nodes are interrupted"
            )
        ],
    ),
    (
        "--interruptions-per-hour -1 --spot-ratio 0.3",
        ["'interruptions_per_hour' must be 0 to 3600, got -1.0"],
    ),
    (
        "--min-replicas 3 --max-replicas 2",
        [
            (
                "scaling: 'max_replicas' must be at least 'min_replicas' (3), got 2; "
                "raise it or lower 'min_replicas'"
            )
        ],
    ),
    (
        "--min-replicas 0",
        [
            (
                "'min_replicas' must be at least 1, got 0; "
                "nothing in a simulation wakes a model without replicas"
            )
        ],
    ),
    (
        "--rate-factor 0",
        [
            (
                "trace 'bundled': 'rate_factor' must be a number above 0 and at most "
                "1,000, got 0.0"
            )
        ],
    ),
    (
        "missing.csv",
        [
            (
                "trace file 'missing.csv': must be a file that can be read: "
                "No such file or directory"
            )
        ],
    ),
    (
        "empty.csv --seed -2 --policy nope",
        [
            "'seed' must be at least 0, got -2",
            f"'policy' must be one of {NAMES}, got 'nope'",
            (
                "trace file 'empty.csv': must have a known header (TIMESTAMP, "
                "ContextTokens, GeneratedTokens; Timestamp, Request tokens, Response "
                "tokens; arrived_at, num_prefill_tokens, num_decode_tokens) or "
                "Mooncake's JSON lines, got ''; the file is empty"
            ),
        ],
    ),
    (
        "--model nope-7b",
        None,
    ),
    ("--gpu l5", None),
    ("--max-model-len 0", None),
    ("--spot-ratio 2", None),
]


@pytest.mark.parametrize(("line", "messages"), BAD_CALLS, ids=str)
def test_fails_in_one_line_for_each_problem(
    line: str,
    messages: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 2, nothing printed, all problems; others' words are tested elsewhere."""
    (tmp_path / "empty.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    found = errors(f"simulate {line}")
    if messages is None:
        assert len(found) == 1
        assert found[0].startswith("Error: ")
    else:
        assert found == [f"Error: {message}" for message in messages]


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("--seeds 0", ["'seeds' must be 1 to 30, got 0"]),
        ("--seeds 31", ["'seeds' must be 1 to 30, got 31"]),
        ("--policies ''", [f"'policy' must be one of {NAMES}, got ''"]),
        (
            "--policies 'queue, queue'",
            ["'policies' must not name anything twice, got 'queue'; remove one"],
        ),
        (
            "--policies a,b",
            [f"'policy' must be one of {NAMES}, got {name!r}" for name in "ab"],
        ),
    ],
)
def test_compare_fails_in_one_line_for_each_problem(
    line: str, messages: list[str]
) -> None:
    """The number of seeds and every policy are looked at before anything runs."""
    assert errors(f"compare {line}") == [f"Error: {text}" for text in messages]


@pytest.mark.parametrize(
    "line", ["simulate --seed x", "compare --seeds many", "simulate --nope"]
)
def test_fails_when_the_call_is_no_call(line: str) -> None:
    """What the parser refuses has status 2 and one line of error."""
    found = errors(line)
    assert len([text for text in found if text.startswith("Error")]) == 1


def test_a_file_in_the_way_is_named(trace: Path, tmp_path: Path) -> None:
    """A place that cannot be written is bad input, for CSV and for the page."""
    (tmp_path / "file").write_text("")
    line = f"simulate {trace} --policy fixed:1"
    assert errors(f"{line} --csv {tmp_path}/file") == [
        (
            "Error: 'csv' must be a directory that can be written, got "
            f"'{tmp_path}/file'; file exists"
        )
    ]
    assert errors(f"{line} --html {tmp_path}") == [
        (
            "Error: 'html' must be a file that can be written, got "
            f"'{tmp_path}'; is a directory"
        )
    ]


def test_a_page_needs_plotly(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library nothing runs, and the line says what to install."""
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert errors(f"simulate {trace} --html {tmp_path}/run.html") == [
        (
            "Error: 'html' needs plotly, which is not installed; "
            "run: pip install 'eks-inference[report]'"
        )
    ]
    assert not (tmp_path / "run.html").exists()
    assert answer(f"simulate {trace} --policy fixed:1") != ""


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("fit qwen3-8b --json", set()),
        ("simulate {trace} --policy fixed:1 --json", {"eks_inference.simulation"}),
        (
            "compare {trace} --policies fixed:1 --seeds 1 --json",
            {"eks_inference.simulation"},
        ),
    ],
)
def test_loads_what_it_needs(line: str, needed: set[str], trace: Path) -> None:
    """Other commands do not load the simulator, and JSON loads no tables or plots."""
    program = (
        "import sys\nfrom eks_inference.cli.main import app\n"
        "try:\n    app()\nfinally:\n"
        "    print(*{'rich', 'plotly', 'jinja2', 'eks_inference.simulation'}\n"
        "        & set(sys.modules), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *line.replace("{trace}", str(trace)).split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(result.stderr.splitlines()[-1].split()) == needed
