"""Names of metrics: by release of vLLM, as recorded, and none that nobody uses."""

import re
from pathlib import Path

import pytest

from eks_inference import metric_names
from eks_inference.metric_names import vllm_metrics
from eks_inference.objective import (
    INTER_TOKEN_BUCKETS,
    TTFT_BUCKETS,
)
from tests.library.conftest import recorded_data, refusal

ROOT = Path(__file__).parents[2]
NAMES = {
    name: value
    for name, value in vars(metric_names).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
}


@pytest.mark.parametrize(
    ("version", "cache", "gap", "reasons"),
    [
        ("0.9.0", "gpu_cache_usage_perc", "time_per_output_token_seconds", False),
        ("0.9.1", "gpu_cache_usage_perc", "time_per_output_token_seconds", False),
        ("0.9.2", "kv_cache_usage_perc", "time_per_output_token_seconds", False),
        ("0.10.2", "kv_cache_usage_perc", "time_per_output_token_seconds", False),
        ("0.11.0", "kv_cache_usage_perc", "inter_token_latency_seconds", False),
        ("0.19.1.post1", "kv_cache_usage_perc", "inter_token_latency_seconds", False),
        ("0.20.0", "kv_cache_usage_perc", "inter_token_latency_seconds", True),
        ("1.0.0", "kv_cache_usage_perc", "inter_token_latency_seconds", True),
    ],
)
def test_names_follow_the_release(
    version: str, cache: str, gap: str, reasons: bool
) -> None:
    """A release has the names that it exports, and not those of another."""
    names = vllm_metrics(version)
    assert names.kv_cache_usage == f"vllm:{cache}"
    assert names.inter_token_latency == f"vllm:{gap}"
    assert (names.waiting_by_reason is not None) is reasons


@pytest.mark.parametrize(
    "version", [None, 31, "", "v0.31.0", "0.31", "0.31.0-gpu", "0.\u0663\u0661.0"]
)
def test_fails_when_the_release_is_none(version: str) -> None:
    """What is no release of vLLM is refused."""
    assert refusal(lambda: vllm_metrics(version)) == (
        f"'version' must be a release of vLLM, got {version!r}; for example '0.31.0'"
    )


def test_fails_when_the_release_is_too_old() -> None:
    """A release whose metrics nobody looked at is refused."""
    assert refusal(lambda: vllm_metrics("0.8.5")) == (
        "'version' must be at least 0.9.0, whose metrics are known, got '0.8.5'; "
        "use a newer vLLM"
    )


def test_recorded_vllm_exports_the_names() -> None:
    """A running vLLM exports every name of vLLM and of its server."""
    page = recorded_data("vllm_metrics.prom").read_text()
    exported = set(re.findall(r"^([a-z][\w:]*)", page, re.MULTILINE))
    for name in NAMES.values():
        if name.startswith(("vllm:", "http_")):
            assert {name, f"{name}_bucket"} & exported, name


def test_recorded_vllm_has_the_buckets() -> None:
    """The bounds that an objective may name are those of a running vLLM."""
    page = recorded_data("vllm_metrics.prom").read_text()
    for histogram, bounds in (
        (metric_names.TIME_TO_FIRST_TOKEN, TTFT_BUCKETS),
        (metric_names.INTER_TOKEN_LATENCY, INTER_TOKEN_BUCKETS),
    ):
        found = re.findall(rf'^{histogram}_bucket{{.*?le="(.*?)"', page, re.MULTILINE)
        assert found == [*(str(bound) for bound in bounds), "+Inf"]


def test_every_name_is_used() -> None:
    """No name stands in the table for nobody."""
    library = ROOT / "constructs/src/eks_inference"
    own = library / "metric_names.py"
    files = [*library.rglob("*.py"), ROOT / "docs/runbooks.md"]
    used = "\n".join(path.read_text() for path in files if path != own)
    for name, value in NAMES.items():
        assert re.search(rf"\b{name}\b", used) or value in used, name
