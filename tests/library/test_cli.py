"""Tests of the commands: tables, JSON, exit statuses and what is said of bad input."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from eks_inference import Accelerator, QueueScaling
from eks_inference.cli.documents import plan_document
from eks_inference.cli.main import app
from eks_inference.planning import (
    CHECKPOINTS,
    INSTANCE_TYPES,
    ColdStartOptions,
    CompileCacheState,
    Fit,
    Load,
    Prices,
    Snapshotter,
    Storage,
    checkpoint,
    cold_start,
    instance,
    make_plan,
    options,
    repairs,
    savings,
)
from eks_inference.planning.serving import capture_sizes
from tests.library.hf_configs import mistral, write_config, write_safetensors

GIB = 1024**3
MODELS = st.sampled_from(sorted(CHECKPOINTS))
GPUS = st.lists(st.sampled_from(sorted(Accelerator.names())), max_size=2)
HEAVY = [
    line
    for name in CHECKPOINTS
    for line in (
        f"fit {name} --all",
        f"plan {name} --spot-ratio 1",
        f"coldstart {name}",
    )
]


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


def read(line: str, status: int = 0) -> Any:
    """Return what a command prints as JSON, which has no NaN and no Infinity."""
    return json.loads(answer(f"{line} --json", status), parse_constant=pytest.fail)


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the row of a table that starts with a word."""
    (row,) = (line for line in text.splitlines() if line.startswith(first))
    return [cell.strip() for cell in row.split("  ") if cell.strip()]


def keys(value: Any, prefix: str = "") -> set[str]:
    """Return the paths of all keys of a document."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item, f"{prefix}[]")}
    if not isinstance(value, dict):
        return {prefix}
    return {key for name in value for key in keys(value[name], f"{prefix}.{name}")}


FIT_KEYS = {
    "[].model",
    "[].instance",
    "[].gpu",
    "[].gpus",
    "[].fits",
    "[].gib_per_gpu.total",
    "[].gib_per_gpu.usable",
    "[].gib_per_gpu.weights",
    "[].gib_per_gpu.overhead",
    "[].gib_per_gpu.kv_cache",
    "[].max_model_len",
    "[].kv_bytes_per_token",
    "[].kv_tokens",
    "[].longest_sequences_at_once",
    "[].typical_tokens",
    "[].typical_sequences_at_once",
    "[].pod_gib",
    "[].streamer_gib",
    "[].disk_gb",
    "[].usd_per_hour",
}
MISFIT_KEYS = {
    "[].problems[]",
    "[].repairs[].change",
    "[].repairs[].instance",
    "[].repairs[].gpus",
    "[].repairs[].max_model_len",
    "[].repairs[].quantization",
    "[].repairs[].extra_usd_per_hour",
}


def test_fit_names_the_cheapest_instance_of_each_gpu() -> None:
    """The table has one row for each GPU, cheapest first, with memory and price."""
    text = answer("fit mistral-7b-awq --gpu l4 --gpu T4 --gpu l4")
    assert text.index("g4dn.xlarge") < text.index("g6.xlarge")
    assert "|".join(cells(text, "g6.xlarge")) == (
        "g6.xlarge|1 x l4|19.8|3.9|0.9|15.0|123,008|3.8|89|0.805"
    )
    assert "32,768 tokens" in text
    assert len([line for line in text.splitlines() if line[:1] == "g"]) == 2


def test_fit_reads_as_the_library_says() -> None:
    """JSON has the numbers of ``Fit``, under keys that stay."""
    line = "fit llama-3.1-8b --gpu l4 --max-model-len 8192 --max-num-seqs 16"
    (row,) = read(f"{line} --kv-dtype fp8 --gpu-memory-utilization 0.8")
    fit = Fit(
        checkpoint=checkpoint("llama-3.1-8b"),
        instance=instance("g6.xlarge"),
        max_model_len=8192,
        max_num_seqs=16,
        kv_dtype="fp8",
        gpu_memory_utilization=0.8,
    )
    assert row["instance"] == fit.instance.name
    assert row["fits"] is fit.fits is True
    assert row["kv_tokens"] == fit.kv_tokens
    assert row["longest_sequences_at_once"] == fit.concurrency
    assert row["gib_per_gpu"]["kv_cache"] == fit.kv_available_bytes / GIB
    assert row["usd_per_hour"] == Prices().on_demand(fit.instance)
    assert keys([row]) == FIT_KEYS


def test_fit_shows_every_way_on_request() -> None:
    """With --all nothing that serves the model is left out."""
    rows = read("fit gpt-oss-20b --gpu h100 --all")
    ways = [
        (item.instance.name, item.tensor_parallel)
        for item in options(checkpoint("gpt-oss-20b"))
        if item.instance.accelerator is Accelerator.H100
    ]
    assert [(row["instance"], row["gpus"]) for row in rows] == ways
    assert len(ways) > 1


def test_fit_says_why_not_and_what_would() -> None:
    """A misfit has status 1; the table and JSON name its problems and its repairs."""
    text = answer("fit llama-3.1-70b --gpu t4", 1)
    (row,) = read("fit llama-3.1-70b --gpu t4", 1)
    assert text.startswith("llama-3.1-70b does not fit 4 of the GPUs of g4dn.12xlarge")
    assert "  - 4 GPUs of g7e.24xlarge (rtx_pro_6000): +12.66 USD/h\n" in text
    refused = Fit(
        checkpoint=checkpoint("llama-3.1-70b"),
        instance=instance("g4dn.12xlarge"),
        tensor_parallel=4,
    )
    assert row["problems"] == list(refused.problems)
    assert [item["change"] for item in row["repairs"]] == [
        item.text for item in repairs(refused)
    ]
    assert all(f"  - {problem}\n" in text for problem in row["problems"])
    assert keys([row]) == FIT_KEYS | MISFIT_KEYS


def test_plan_reads_as_the_library_says() -> None:
    """The table and JSON of a plan have the numbers of ``make_plan``."""
    line = "plan mistral-7b-awq --gpu l4 --spot-ratio 0.4 --max-replicas 4"
    document, text = read(line), answer(line)
    plan = make_plan(checkpoint("mistral-7b-awq"), accelerators=[Accelerator.L4])
    sizing = plan.serving.sizing
    assert document["fits"] is True
    assert document["pool"]["gpus"] == ["l4"]
    assert document["replica"]["max_num_seqs"] == sizing.max_num_seqs
    assert document["replica"]["scaling_target"] == plan.serving.scaling_target
    assert document["cold_start"]["p50_seconds"] == plan.cold_start.p50
    cost = document["cost"]
    assert cost["on_demand"]["per_gpu_hour"]["usd"] == 0.8048
    assert cost["spot"]["per_gpu_hour"]["usd"] == pytest.approx(0.4 * 0.8048)
    assert cells(text, "--max-num-seqs")[1] == f"{sizing.max_num_seqs} sequences"
    assert cells(text, "replicas")[1] == "1 to 4"
    assert cells(text, "GPU hour")[:3] == [*("GPU hour", "0.805", "0.322")]
    assert cells(text, "total")[1] == f"{plan.cold_start.p50:.0f}"


def test_plan_passes_every_option_on() -> None:
    """Each option of a plan changes what the argument of the library changes."""
    line = (
        "plan mistral-7b --gpu l4 --gpus-per-node 4 --gpus 2 --max-model-len 4096 "
        "--max-num-seqs 24 --min-replicas 2 --max-replicas 6 --requests-per-second 3 "
        "--prompt-tokens 700 --answer-tokens 90"
    )
    plan = make_plan(
        checkpoint("mistral-7b"),
        accelerators=[Accelerator.L4],
        gpus_per_node=4,
        gpus=2,
        max_model_len=4096,
        max_num_seqs=24,
        scaling=QueueScaling(min_replicas=2, max_replicas=6),
        load=Load(requests_per_second=3, prompt_tokens=700, answer_tokens=90),
    )
    assert read(line) == json.loads(json.dumps(plan_document(plan, Prices())))


def test_plan_has_the_same_keys_for_all() -> None:
    """Another model, a misfit too, and no spot price change no key but theirs."""
    usual = keys(read("plan mistral-7b-awq"))
    assert keys(read("plan qwen3-32b-fp8 --gpu h100")) == usual
    misfit = keys(read("plan llama-3.1-70b --gpu t4", 1))
    assert usual <= misfit
    assert {key for key in misfit - usual if "problems" not in key} == {
        f".fit{key}" for key in MISFIT_KEYS if "problems" not in key
    }


def test_plan_says_why_not() -> None:
    """A misfit has status 1, its problem and its repairs, and no further numbers."""
    text = answer("plan llama-3.1-70b --gpu t4", 1)
    assert text.startswith("llama-3.1-70b does not fit 4 of the GPUs of g4dn.12xlarge")
    assert "  - 2 GPUs of g7e.12xlarge (rtx_pro_6000): +4.37 USD/h\n" in text
    assert "scaling target" not in text


def test_instances_are_those_of_the_table() -> None:
    """Every instance type is listed; GPUs select, and a spot price is a column."""
    assert {row["instance"] for row in read("instances")} == {
        item.name for item in INSTANCE_TYPES
    }
    text = answer("instances --gpu l40s --spot-ratio 0.5")
    assert text.splitlines()[0].split("  ")[-1].strip() == "spot USD/h"
    row = "|".join(cells(text, "g6e.xlarge"))
    assert row == "g6e.xlarge|1|l40s|44.4|4|29|2.5-20|250|1.861|0.930"
    (first, *_) = read("instances --gpu l40s --spot-ratio 0.5")
    assert first["spot_usd_per_hour"] == first["usd_per_hour"] / 2
    assert read("instances --gpu l40s")[0]["spot_usd_per_hour"] is None


def test_cold_start_reads_as_the_library_says() -> None:
    """Every option of the command reaches the ledger."""
    line = (
        "coldstart mistral-7b --instance g6.2xlarge --snapshotter soci-al2023 "
        "--storage ebs --ebs-throughput-mib 500 --compile-cache none "
        "--image-snapshot --max-num-seqs 8 --network-burst"
    )
    document, text = read(line), answer(line)
    model = checkpoint("mistral-7b")
    start = cold_start(
        instance=instance("g6.2xlarge"),
        weight_bytes=model.weight_bytes,
        files=model.files,
        options=ColdStartOptions(
            snapshotter=Snapshotter.SOCI_AL2023,
            storage=Storage.EBS,
            ebs_throughput_mib=500,
            compile_cache=CompileCacheState.NONE,
            image_snapshot=True,
            capture_sizes=capture_sizes(8),
            network_burst=True,
        ),
    )
    assert document["p50_seconds"] == start.p50
    assert [phase["p90_seconds"] for phase in document["phases"]] == [
        phase.p90 for phase in start.phases
    ]
    assert cells(text, "total") == [
        *("total", f"{start.p50:.0f}", f"{start.p90:.0f}", "on g6.2xlarge")
    ]


@pytest.mark.parametrize("name", ["g5g.xlarge", "g6.xlarge --image-snapshot"])
def test_cold_start_uses_ebs_where_it_must(name: str) -> None:
    """Without NVMe, and with the image in a snapshot, EBS needs not be said."""
    line = f"coldstart mistral-7b-awq --instance {name}"
    assert read(line) == read(f"{line} --storage ebs")


def test_a_warm_node_has_no_phases_of_a_new_one() -> None:
    """With --warm-node neither a node nor the image is waited for."""
    phases = [row["phase"] for row in read("coldstart qwen3-8b --warm-node")["phases"]]
    assert phases[0] == "detect"
    assert not {"node", "image"} & set(phases)


def test_a_model_is_its_files(tmp_path: Path) -> None:
    """A config.json, with its size given, and a directory with weights are read."""
    place = write_config(tmp_path / "own", mistral())
    (row,) = read(f"fit {place}/config.json --gpu l4")
    assert row["model"] == "own"
    assert row["gib_per_gpu"]["weights"] == pytest.approx(13.49, 1e-3)
    (row,) = read(f"fit {place}/config.json --gpu l4 --weights-gb 14.6")
    assert row["gib_per_gpu"]["weights"] == pytest.approx(14.6e9 / GIB)
    size = checkpoint("mistral-7b").weight_bytes
    for name, part in (("one", size - 8), ("two", 8)):
        write_safetensors(place / f"{name}.safetensors", {name: ("BF16", part)})
    (row,) = read(f"fit {place} --gpu l4")
    assert row["gib_per_gpu"]["weights"] == size / GIB
    assert read(f"plan {place}")["model"]["weight_bytes"] == size
    saved = savings(
        instance=instance("g6.xlarge"),
        weight_bytes=size,
        files=2,
        options=ColdStartOptions(
            storage=Storage.NVME,
            compile_cache=CompileCacheState.EFS_HIT,
            snapshotter=Snapshotter.SOCI_BOTTLEROCKET,
            ebs_throughput_mib=1000,
            capture_sizes=capture_sizes(32),
        ),
    )
    found = read(f"coldstart {place}")
    assert found["model"] == "own"
    assert [row["p50_seconds"] for row in found["savings"]] == [
        item.p50 for item in saved
    ]


@pytest.mark.parametrize("command", ["", "fit", "plan", "instances", "coldstart"])
def test_help_has_an_example_that_works(command: str) -> None:
    """Every help ends with a line that can be copied."""
    text = answer(f"{command} --help")
    (example,) = (line for line in text.splitlines() if "Example: " in line)
    name, _, line = example.partition("eks-inference ")
    assert name.strip() == "Example:"
    assert line.startswith(command)
    assert run(line.replace("--html p.html", "")).exit_code == 0
    assert "..." not in text.partition("Commands:")[2]


GPU_RULE = f"'gpu' must be one of {', '.join(map(repr, Accelerator.names()))}"
NEEDS_FILE = "any other model needs the path of its 'config.json' as MODEL"
BAD_CALLS = [
    (
        "fit mistral-7b-gptq",
        "'model' must name a model of the catalogue, got 'mistral-7b-gptq'; did you "
        "mean 'mistral-7b-fp8' or 'mistral-7b-awq' or 'mistral-7b'? " + NEEDS_FILE,
    ),
    *(
        (
            f"fit {name!r}",
            (
                f"'model' must name a model of the catalogue, got {name!r}; it has "
                f"{', '.join(CHECKPOINTS)}; {NEEDS_FILE}"
            ),
        )
        for name in ("zzz", "", "z" * 5000)
    ),
    (
        "coldstart ./mistral-7b",
        (
            "checkpoint '{tmp}': 'mistral-7b' must be a file that can be read, got "
            "'No such file or directory'; download it from the model's repository"
        ),
    ),
    (
        "plan missing.json",
        (
            "checkpoint '{tmp}': 'missing.json' must be a file that can be read, "
            "got 'No such file or directory'; download it from the model's "
            "repository"
        ),
    ),
    (
        "fit empty",
        (
            "checkpoint 'empty': 'config.json' must be a file that can be read, "
            "got 'No such file or directory'; download it from the model's "
            "repository"
        ),
    ),
    (
        "fit broken.json",
        (
            "checkpoint '{tmp}': 'broken.json' must be JSON, got 'Expecting "
            "property name enclosed in double quotes: line 1 column 2 (char 1)'; "
            "download it again"
        ),
    ),
    (
        "fit list.json",
        (
            "checkpoint '{tmp}': 'list.json' must hold a JSON object that is not "
            "empty, got 'list'; download it again"
        ),
    ),
    ("fit qwen3-8b --gpu l5", f"{GPU_RULE}, got 'l5'"),
    ("instances --gpu ''", f"{GPU_RULE}, got ''"),
    (
        "fit qwen3-8b --kv-dtype int4",
        "fit: 'kv_dtype' must be one of 'auto', 'fp8', got 'int4'",
    ),
    (
        "fit qwen3-8b --vllm-version 9",
        "'vllm_version' must be a release of vLLM, got '9'; for example '0.31.0'",
    ),
    (
        "plan qwen3-8b --vllm-version 0.1.0",
        "'vllm_version' must be at least 0.9.0, got '0.1.0'; use a newer one",
    ),
    (
        "fit mistral-7b --max-model-len -5",
        "fit: 'max_model_len' must be at least 1, got -5",
    ),
    (
        "fit mistral-7b --max-model-len 40000",
        (
            "fit: 'max_model_len' must be at most the context of mistral-7b "
            "(32768), got 40000"
        ),
    ),
    (
        "plan mistral-7b --max-model-len 40000",
        (
            "model 'model': 'max_model_len' must be 256 to 32768, got 40000; "
            "'mistral-7b' was made for 32768 tokens"
        ),
    ),
    (
        "fit mistral-7b --max-num-seqs 99999999999999999999",
        "fit: 'max_num_seqs' must be 1 to 4096, got 99999999999999999999",
    ),
    (
        "coldstart mistral-7b --max-num-seqs 0",
        "'max_num_seqs' must be 1 to 4096, got 0",
    ),
    (
        "fit mistral-7b --gpu-memory-utilization nan",
        (
            "fit: 'gpu_memory_utilization' must be 0.1 to 0.98, got nan; CUDA "
            "graphs and the context need the rest"
        ),
    ),
    (
        "fit mistral-7b --weights-gb 3",
        (
            "'weights_gb' must not be given for a model of the catalogue, got 3.0; "
            "the catalogue knows it"
        ),
    ),
    (
        "fit good/config.json --weights-gb -1",
        "'weights_gb' must be 0.001 to 10000, got -1.0",
    ),
    (
        "instances --spot-ratio 2",
        "prices: 'spot_ratio' must be a number above 0 and at most 1, got 2.0",
    ),
    (
        "plan mistral-7b --spot-ratio nan",
        "prices: 'spot_ratio' must be a number above 0 and at most 1, got nan",
    ),
    (
        "plan mistral-7b --min-replicas 5 --max-replicas 2",
        (
            "scaling: 'max_replicas' must be at least 'min_replicas' (5), got 2; "
            "raise it or lower 'min_replicas'"
        ),
    ),
    (
        "plan mistral-7b --min-replicas -1",
        "scaling: 'min_replicas' must be at least 0, got -1",
    ),
    (
        "plan mistral-7b --html missing/p.html",
        (
            "'html' must be a file that can be written, got 'missing/p.html'; no "
            "such file or directory"
        ),
    ),
    (
        "plan mistral-7b --html empty --json",
        "'html' must be a file that can be written, got 'empty'; is a directory",
    ),
    (
        "plan qwen2.5-7b --gpus 8",
        (
            "fit: 'gpus' must divide the 28 attention heads, got 8; use 1, 2, 4 or "
            "8 where they do"
        ),
    ),
    ("plan mistral-7b --gpus 16", "model 'model': 'gpus' must be 1 to 8, got 16"),
    ("plan mistral-7b --gpus-per-node 0", "'gpus_per_node' must be at least 1, got 0"),
    (
        "plan mistral-7b --gpu l4 --gpus-per-node 2",
        (
            "pool 'gpu': 'gpus_per_node' must be a count that instances with l4 "
            "have (1, 4, 8), got 2"
        ),
    ),
    (
        "plan mistral-7b --gpu t4g --gpu l4",
        (
            "pool 'gpu': 'gpu' must share one CPU architecture, got t4g (arm64), "
            "l4 (amd64); make a pool for each"
        ),
    ),
    (
        "plan qwen3-8b --answer-tokens -3",
        "load: 'answer_tokens' must be 1 to 100000000, got -3.0",
    ),
    (
        "plan qwen3-8b --requests-per-second inf",
        (
            "load: 'requests_per_second' must be 1e-06 to 1000000000.0, got inf; a "
            "pool without requests has no cost per token"
        ),
    ),
    (
        "coldstart qwen3-8b --instance g6.xxlarge",
        (
            "'instance' must name an EC2 instance type that a pool can use, got "
            "'g6.xxlarge'; did you mean 'g6.xlarge' or 'g6e.xlarge' or "
            "'g6.8xlarge'?"
        ),
    ),
    (
        "coldstart qwen3-8b --instance ''",
        (
            "'instance' must name an EC2 instance type that a pool can use, got "
            "''; 'g5.xlarge' is one; 'eks-inference instances' lists all"
        ),
    ),
    (
        "coldstart qwen3-8b --image-snapshot --storage nvme",
        (
            "cold start: 'storage' must be 'ebs' with 'image_snapshot', got "
            "'nvme'; what lies on local NVMe hides the image of the data volume"
        ),
    ),
    (
        "coldstart qwen3-8b --instance g5g.xlarge --storage nvme",
        (
            "'storage' must be 'ebs' on g5g.xlarge, which has no local NVMe "
            "storage, got 'nvme'"
        ),
    ),
    (
        "coldstart qwen3-8b --ebs-throughput-mib nan",
        "cold start: 'ebs_throughput_mib' must be 1 to 100000, got nan",
    ),
]


@pytest.mark.parametrize(("line", "message"), BAD_CALLS, ids=lambda text: text[:60])
def test_fails_in_one_line(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad input has status 2, prints nothing and says what is wrong in one line."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{broken")
    (tmp_path / "list.json").write_text("[]")
    write_config(tmp_path / "good", mistral())
    monkeypatch.chdir(tmp_path)
    result = run(line)
    expected = f"Error: {message.replace('{tmp}', tmp_path.name)}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_fails_with_every_problem() -> None:
    """Each unknown GPU has a line of its own."""
    result = run("fit qwen3-8b --gpu l4 --gpu nope --gpu nada")
    assert result.exit_code == 2
    assert result.stderr == "".join(
        f"Error: {GPU_RULE}, got {name!r}\n" for name in ("nope", "nada")
    )


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("fit", "MODEL"),
        ("fit qwen3-8b --max-model-len abc", "--max-model-len"),
        ("fit qwen3-8b --nope", "--nope"),
        ("coldstart qwen3-8b --storage tape", "--storage"),
        ("coldstart qwen3-8b --snapshotter none", "--snapshotter"),
        ("nope", "nope"),
    ],
)
def test_fails_when_the_call_is_no_call(line: str, option: str) -> None:
    """What the parser refuses is one line too, below the usage."""
    result = run(line)
    assert (result.exit_code, result.stdout) == (2, "")
    errors = [text for text in result.stderr.splitlines() if text.startswith("Error")]
    assert len(errors) == 1
    assert option in errors[0]
    assert result.stderr.rstrip("\n").endswith(errors[0])


def test_a_file_name_cannot_break_the_line(tmp_path: Path) -> None:
    """A line break in a path does not make two problems of one."""
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "a\nError: b.json")])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("line", HEAVY)
def test_nothing_is_cut(line: str) -> None:
    """For every model all tables have whole cells and at most 110 columns."""
    text = answer(line, run(line).exit_code)
    assert "…" not in text
    tables = [row for row in text.splitlines() if not row.startswith("  - ")]
    assert max(map(len, tables)) <= 110


def test_numbers_are_right_aligned() -> None:
    """Prices of different length end in the same column as their header."""
    header, *rows = answer("fit qwen3-8b").splitlines()
    ends = {len(row) for row in [header, *rows[: rows.index("")]]}
    assert ends == {len(header)}
    assert header.endswith("USD/h")


@given(MODELS, GPUS, st.integers(1, 300_000), st.sampled_from(["fit", "plan"]))
def test_any_call_gives_json_or_one_line_for_a_problem(
    model: str, gpus: list[str], length: int, command: str
) -> None:
    """Whatever is asked of whatever model: valid JSON, or problems, and a status."""
    chosen = "".join(f" --gpu {gpu}" for gpu in gpus)
    result = run(f"{command} {model} --max-model-len {length} --json{chosen}")
    if result.exit_code == 2:
        assert result.stdout == ""
        assert all(line.startswith("Error: ") for line in result.stderr.splitlines())
    else:
        document = json.loads(result.stdout, parse_constant=pytest.fail)
        fits = document[0]["fits"] if command == "fit" else document["fits"]
        assert (result.exit_code, result.stderr) == (0 if fits else 1, "")


@given(MODELS, st.sampled_from([item.name for item in INSTANCE_TYPES]))
def test_any_cold_start_is_json(model: str, name: str) -> None:
    """Every model starts on every instance type in a time that is a number."""
    document = read(f"coldstart {model} --instance {name}")
    assert 0 < document["p50_seconds"] <= document["p90_seconds"]


def test_the_command_is_installed() -> None:
    """The program of the package prints JSON alone, and its statuses are real."""
    program = Path(sys.executable).with_name("eks-inference")
    found = [
        subprocess.run(
            [program, *shlex.split(line)], capture_output=True, text=True, check=False
        )
        for line in (
            "fit qwen3-8b --gpu l4 --json",
            "fit llama-3.1-70b --gpu t4",
            "fit qwen3-8b --gpu l5",
        )
    ]
    assert [item.returncode for item in found] == [0, 1, 2]
    assert json.loads(found[0].stdout) == read("fit qwen3-8b --gpu l4")
    assert found[2].stderr == f"Error: {GPU_RULE}, got 'l5'\n"


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("", set()),
        ("fit qwen3-8b --json", set()),
        ("plan qwen3-8b --json", set()),
        ("fit qwen3-8b --gpu l5", set()),
        ("fit qwen3-8b", {"rich"}),
        ("plan qwen3-8b --json --html {tmp}/p.html", {"jinja2"}),
    ],
)
def test_loads_what_it_needs(line: str, needed: set[str], tmp_path: Path) -> None:
    """CDK is never loaded, tables and pages only where there are some."""
    program = (
        "import sys\nfrom eks_inference.cli.main import app\n"
        "try:\n    sys.argv[1:] and app()\nfinally:\n"
        "    print(*{'jsii', 'aws_cdk', 'cdk8s', 'constructs', 'rich', 'jinja2'}\n"
        "        & set(sys.modules), file=sys.stderr)\n"
    )
    arguments = line.replace("{tmp}", str(tmp_path)).split()
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(result.stderr.splitlines()[-1].split()) == needed
