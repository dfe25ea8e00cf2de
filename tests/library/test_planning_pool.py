"""Tests of a pool of GPU nodes as a value."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, ImageSnapshot
from eks_inference.planning import gpus_needed
from tests.library.cases import SNAPSHOT
from tests.library.conftest import BadInputs, bad_inputs, make_pool, refusal

ALIAS = (
    "'ami_alias' must be a pinned Bottlerocket release, got {!r}; "
    "for example 'bottlerocket@v1.64.0'"
)

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
        {"consolidate_after_seconds": -1},
        "'consolidate_after_seconds' must be at least 0, got -1",
    ),
    (
        {"consolidate_after_seconds": "30s"},
        "'consolidate_after_seconds' must be a whole number, got '30s'",
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
            consolidate_after_seconds=-30,
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
            "'consolidate_after_seconds' must be at least 0, got -30",
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


def test_images_of_a_snapshot_lie_on_the_data_volume() -> None:
    """With a snapshot the EBS volume holds the images, whatever else a node has."""
    pool = make_pool(image_snapshot=ImageSnapshot(snapshot_id=SNAPSHOT))
    assert pool.has_local_nvme
    assert not pool.keeps_images_on_nvme
    assert pool.data_volume_gib == 200
    assert make_pool().keeps_images_on_nvme


def test_fails_when_a_gpu_is_admitted_that_is_not_listed() -> None:
    """Names and sizes are asked for apart, so a third GPU could come along unseen."""
    message = refusal(
        lambda: make_pool(
            accelerators=(Accelerator.A100_40G, Accelerator.H100),
            gpus_per_node=8,
        )
    )
    assert message == (
        "pool 'gpu': 'accelerators' must not admit more than they list, and name and "
        "memory together admit a100_80g too, got ['a100_40g', 'h100']; list it, or "
        "make a pool for each"
    )


@pytest.mark.parametrize(
    ("replicas", "per_node", "gpus"),
    [
        ([], 4, 0),
        ([(1, 10)], 1, 10),
        ([(1, 10)], 4, 12),
        ([(4, 1), (1, 1)], 4, 8),
        ([(3, 2), (1, 2)], 4, 8),
        ([(2, 1), (1, 3)], 4, 8),
        ([(8, 3)], 4, 0),
    ],
)
def test_whole_nodes_are_counted(
    replicas: list[tuple[int, int]], per_node: int, gpus: int
) -> None:
    """Replicas share nodes but never span them, and each begun node counts fully."""
    assert gpus_needed(replicas, gpus_per_node=per_node) == gpus


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 6)), max_size=5),
    st.sampled_from([1, 2, 4, 8]),
)
def test_nodes_hold_all_replicas(replicas: list[tuple[int, int]], size: int) -> None:
    """There is room for every replica, and a node more for one that fills a node."""
    fitting = [(gpus, count) for gpus, count in replicas if gpus <= size]
    found = gpus_needed(replicas, gpus_per_node=size)
    assert found % size == 0
    assert found >= sum(gpus * count for gpus, count in fitting)
    assert found <= size * sum(count for _, count in fitting)
    more = gpus_needed([*replicas, (size, 1)], gpus_per_node=size)
    assert more == found + size
