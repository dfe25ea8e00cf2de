"""vLLM's own parser, configuration and loaders, asked about every rendered argument."""

from functools import cache

import pytest

from tests.e2e.conftest import Summary
from tests.e2e.contract import CONTRACT
from tests.e2e.live import accepts, live_serving, objects, offers, tiny_model
from tests.e2e.variants import (
    container,
    example_objects,
    of_kind,
    stage_objects,
    variant_objects,
)

GOOD = container(objects(live_serving())["Deployment"])["args"]

REFUSED = {
    "an unknown flag": (["--disable-log-requests"], "parser"),
    "a number that is none": (["--max-num-seqs=many"], "parser"),
    "an unknown type": (["--dtype=int3"], "parser"),
    "a configuration that is no JSON": (
        ["--model-loader-extra-config={concurrency:16}"],
        "parser",
    ),
    "more memory than there is": (["--gpu-memory-utilization=1.5"], "configuration"),
    "an end before it began": (["--shutdown-timeout=-1"], "configuration"),
    "an unknown quantization": (["--quantization=awq_marble"], "configuration"),
    "longer than any model": (["--max-model-len=2000000"], "configuration"),
    "an unknown way to load": (["--load-format=bogus"], "loader"),
    "a concurrency in quotes": (
        ['--model-loader-extra-config={"concurrency":"16"}'],
        "loader",
    ),
    "a setting that the streamer has not": (
        ['--model-loader-extra-config={"threads":16}'],
        "loader",
    ),
}
"""What must be refused when it is added to good arguments, and by which level."""


@cache
def rendered() -> dict[str, list[str]]:
    """Return the arguments of every Deployment that the project renders."""
    groups = {**variant_objects(), **example_objects(), **stage_objects()}
    return {
        name: container(deployment)["args"]
        for name, deployment in of_kind(groups, "Deployment")
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What vLLM has against all of them, asked at once: its import is the cost."""
    tiny = tiny_model(tmp_path_factory.mktemp("model"))
    refused = {name: [*GOOD, *more] for name, (more, _) in REFUSED.items()}
    return accepts({**rendered(), **refused}, tiny)


def test_vllm_takes_everything_that_is_rendered(
    verdicts: dict[str, dict[str, str]], summary: Summary
) -> None:
    """Examples, stages and variants pass parser, configuration and loader."""
    names = rendered()
    assert {name: verdicts[name] for name in names if verdicts[name]} == {}
    flags = {
        item.split("=")[0] for arguments in names.values() for item in arguments[1:]
    }
    summary["arguments of Deployments"] = str(len(names))
    summary["flags"] = ", ".join(sorted(flags))


@pytest.mark.parametrize("name", REFUSED)
def test_vllm_refuses(name: str, verdicts: dict[str, dict[str, str]]) -> None:
    """Each level can say no, so that a yes means something."""
    _, level = REFUSED[name]
    assert list(verdicts[name]) == [level]


def test_contract_is_what_vllm_offers() -> None:
    """The recorded flags and variables are those of the vLLM that is installed."""
    assert {
        key: CONTRACT[key] for key in ("version", "flags", "environment")
    } == offers()
