"""Tests of a pool of GPU nodes as a value."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Accelerator
from tests.library.conftest import BadInputs, bad_inputs, make_pool, refusal

ALIAS = (
    "'ami_alias' must be a pinned Bottlerocket release, got {!r}; "
    "for example 'bottlerocket@v1.64.0'"
)
EMPTY_NODE = "; an empty node must outlive a cold start"

BAD: BadInputs = [
    (
        {"name": "GPU"},
        (
            "'name' must be a DNS label of at most 63 characters "
            "(a-z, 0-9 and '-', starting with a letter), got 'GPU'"
        ),
    ),
    (
        {"accelerators": ()},
        "'accelerators' must not be empty; pass for example [Accelerator.L4]",
    ),
    (
        {"accelerators": (Accelerator.L4, Accelerator.L4)},
        "'accelerators' must not name anything twice, got 'l4'; remove one",
    ),
    (
        {"accelerators": (Accelerator.T4, Accelerator.T4G)},
        (
            "'accelerators' must share one CPU architecture, got t4 (amd64), "
            "t4g (arm64); make a pool for each"
        ),
    ),
    ({"gpus_per_node": 0}, "'gpus_per_node' must be at least 1, got 0"),
    ({"gpus_per_node": "1"}, "'gpus_per_node' must be a whole number, got '1'"),
    (
        {"gpus_per_node": 2, "accelerators": (Accelerator.L4,)},
        "'gpus_per_node' must be a count that instances with l4 have (1, 4, 8), got 2",
    ),
    (
        {"gpus_per_node": 1, "accelerators": (Accelerator.H200,)},
        "'gpus_per_node' must be a count that instances with h200 have (8), got 1",
    ),
    ({"max_gpus": 0}, "'max_gpus' must be at least 1, got 0"),
    ({"max_gpus": None}, "'max_gpus' must be a whole number, got None"),
    (
        {"max_gpus": 3, "gpus_per_node": 4},
        (
            "'max_gpus' must be at least 'gpus_per_node' (4), got 3; "
            "raise it, or no node can ever start"
        ),
    ),
    (
        {"consolidate_after_seconds": 299},
        "'consolidate_after_seconds' must be at least 300, got 299" + EMPTY_NODE,
    ),
    (
        {"consolidate_after_seconds": "30s"},
        "'consolidate_after_seconds' must be a whole number, got '30s'" + EMPTY_NODE,
    ),
    ({"ami_alias": "bottlerocket@latest"}, ALIAS.format("bottlerocket@latest")),
    ({"ami_alias": "al2023@v20260101"}, ALIAS.format("al2023@v20260101")),
    ({"ami_alias": "bottlerocket@v1.64"}, ALIAS.format("bottlerocket@v1.64")),
    ({"ami_alias": None}, ALIAS.format(None)),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a pool is refused with its whole message."""
    name = changes.get("name", "gpu")
    assert refusal(lambda: make_pool(**changes)) == f"pool {name!r}: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a pool are reported together."""
    message = refusal(
        lambda: make_pool(
            name="",
            accelerators=(Accelerator.T4G, Accelerator.L4),
            gpus_per_node=3,
            max_gpus=2,
            consolidate_after_seconds=30,
            ami_alias="",
        )
    )
    assert message.splitlines() == [
        f"pool '': {problem}"
        for problem in (
            (
                "'name' must be a DNS label of at most 63 characters "
                "(a-z, 0-9 and '-', starting with a letter), got ''"
            ),
            (
                "'accelerators' must share one CPU architecture, got t4g (arm64), "
                "l4 (amd64); make a pool for each"
            ),
            (
                "'gpus_per_node' must be a count that instances with t4g have (1, 2), "
                "got 3"
            ),
            (
                "'gpus_per_node' must be a count that instances with l4 have "
                "(1, 4, 8), got 3"
            ),
            (
                "'max_gpus' must be at least 'gpus_per_node' (3), got 2; "
                "raise it, or no node can ever start"
            ),
            "'consolidate_after_seconds' must be at least 300, got 30" + EMPTY_NODE,
            ALIAS.format(""),
        )
    ]


@pytest.mark.parametrize("item", Accelerator)
def test_every_gpu_makes_a_pool_in_each_of_its_sizes(item: Accelerator) -> None:
    """Every GPU can be pooled alone, with each count that its instances have."""
    for count in item.counts:
        pool = make_pool(accelerators=(item,), gpus_per_node=count, max_gpus=count)
        assert pool.architecture == item.architecture


def test_images_fit_the_data_volume_without_nvme() -> None:
    """Where there is no NVMe, the EBS volume holds the unpacked images."""
    small, large = make_pool(), make_pool(accelerators=(Accelerator.T4G,))
    assert (small.has_local_nvme, small.data_volume_gib) == (True, 20)
    assert (large.has_local_nvme, large.data_volume_gib) == (False, 200)
