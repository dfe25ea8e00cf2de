"""Tests of which GPUs several models can share."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, ConfigurationError, Model
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning import SharedNodes, shared_nodes
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.pool import pool_problems
from eks_inference.planning.sharing import sizing_on
from eks_inference.quantization import Quantization
from tests.library.conftest import make_model, refusal

A = Accelerator
BLACKWELL = [A.RTX_PRO_4500, A.RTX_PRO_6000, A.B200]
NO_INT8 = (
    "shared nodes: 'models' must have GPUs in common, got 'old', which fits 1 x l4, "
    "4 x l4, 8 x l4, and 'large', which fits 8 x b200; make a pool for each"
)


def known(name: str, checkpoint: Checkpoint | None = None, **changes: Any) -> Model:
    """Return a model of the catalogue under a name, of which nothing else is said."""
    return make_model(
        **{
            "name": name.replace(".", "-"),
            "checkpoint": checkpoint or CHECKPOINTS[name],
            "weights_gb": None,
            "max_model_len": None,
            **changes,
        }
    )


def int8(name: str) -> Model:
    """Return a 7B model whose format vLLM runs on no Blackwell GPU."""
    shape = CHECKPOINTS["mistral-7b"].architecture
    return known(
        name,
        Checkpoint.computed(
            name="mistral-7b-int8", architecture=shape, quantization=Quantization.INT8
        ),
    )


def large(name: str, gpus: int = 8) -> Model:
    """Return a 70B model in 16 bits that is to answer about whole books."""
    return known(name, CHECKPOINTS["llama-3.1-70b"], gpus=gpus, max_model_len=131_072)


def test_one_small_model_gets_the_cheapest_gpus() -> None:
    """A 7B model in 16 bits needs more than a T4, and an L4 is the next."""
    assert shared_nodes([known("m", CHECKPOINTS["mistral-7b"])]) == SharedNodes(
        (A.L4, A.A10G), 1
    )


def test_three_models_share_what_the_largest_needs() -> None:
    """The largest of three models decides, and the others fit as well."""
    models = [
        known("mistral", CHECKPOINTS["mistral-7b-awq"]),
        known("qwen", CHECKPOINTS["qwen3-32b-awq"]),
        known("llama", CHECKPOINTS["llama-3.1-8b"]),
    ]
    nodes = shared_nodes(models)
    assert nodes == SharedNodes((A.L40S, A.RTX_PRO_6000), 1)
    for model in models:
        assert sizing_on(model, nodes) is not None


def test_a_node_costs_what_the_replicas_on_it_share() -> None:
    """4 GPUs that hold one replica are dearer than one large GPU that holds one."""
    model = known("llama-3.1-70b-awq")
    # 3.91 USD an hour for four T4, of which a replica takes all, and 3.36 for this
    assert shared_nodes([model]) == SharedNodes((A.RTX_PRO_6000,), 1)
    assert shared_nodes([model], accelerators=[A.T4, A.L4]).gpus_per_node == 4


def test_one_replica_at_rest_is_what_counts() -> None:
    """A node for 8.29 USD with one replica is chosen, not one of four for 27.45."""
    model = known("mixtral-8x7b")
    assert shared_nodes([model]) == SharedNodes((A.RTX_PRO_6000,), 2)
    large = shared_nodes([model], accelerators=[A.A100_80G, A.RTX_PRO_6000, A.H100])
    assert large == SharedNodes((A.RTX_PRO_6000,), 2)


def test_replicas_need_memory_of_the_node_too() -> None:
    """Four T4 hold one pod of 112 GiB, whatever is left of the GPUs."""
    model = known("mistral-7b-awq", memory_gib=112)
    nodes = shared_nodes([model], accelerators=[A.T4])
    assert nodes == SharedNodes((A.T4,), 1)


def test_the_instance_with_room_for_the_pod_has_the_price() -> None:
    """Memory of the pod makes another GPU the cheapest: L4, whose gr6 has more."""
    small = known("mistral-7b-awq")
    roomy = known("mistral-7b-awq", memory_gib=112)
    assert shared_nodes([small]).accelerators[0] is A.T4
    assert shared_nodes([roomy]).accelerators[0] is A.L4


def test_no_gpu_joins_for_which_a_replica_would_shrink() -> None:
    """An RTX PRO 4500 costs less than two L40S, but has a third less memory."""
    model = known("llama-2-13b")
    nodes = shared_nodes([model])
    assert nodes == SharedNodes((A.L40S, A.RTX_PRO_6000), 1)
    sizing = sizing_on(model, nodes)
    assert sizing is not None
    assert sizing.max_model_len == 4_096
    stated = known("llama-2-13b", max_model_len=2_048, max_num_seqs=8)
    assert A.RTX_PRO_4500 in shared_nodes([stated]).accelerators


def test_a_gpu_that_would_admit_another_one_does_not_join() -> None:
    """Name and memory of A100 40 GB and H100 would admit the A100 with 80 GB."""
    model = known("mistral-7b", gpus=8)
    nodes = shared_nodes([model], accelerators=[A.A100_40G, A.A100_80G])
    assert nodes == SharedNodes((A.A100_40G, A.A100_80G), 8)
    nodes = shared_nodes([model], accelerators=[A.A100_40G, A.H100], gpus_per_node=8)
    assert nodes == SharedNodes((A.A100_40G,), 8)


def test_arm_processors_are_chosen_only_by_name() -> None:
    """T4G is cheap, but needs an image of its own, and shares no pool with others."""
    model = known("mistral-7b-awq")
    assert A.T4G not in shared_nodes([model]).accelerators
    assert shared_nodes([model], accelerators=[A.T4G]) == SharedNodes((A.T4G,), 1)
    mixed = shared_nodes([model], accelerators=[A.T4G, A.L4, A.A10G])
    assert mixed == SharedNodes((A.T4G,), 1)


def test_number_of_gpus_of_a_node_can_be_given() -> None:
    """Only nodes with that many GPUs are looked at."""
    model = known("mistral-7b-awq")
    assert shared_nodes([model]).gpus_per_node == 1
    assert shared_nodes([model], gpus_per_node=2) == SharedNodes(
        (A.RTX_PRO_4500, A.RTX_PRO_6000), 2
    )
    assert shared_nodes([model], gpus_per_node=4).gpus_per_node == 4


def test_release_of_vllm_decides_which_gpus_are_chosen() -> None:
    """Before 0.14.0, AWQ has no kernel for a T4."""
    model = known("mistral-7b-awq")
    assert shared_nodes([model]).accelerators[0] is A.T4
    assert shared_nodes([model], vllm_version="0.13.0").accelerators[0] is A.L4


def test_fails_when_two_models_have_no_gpu_in_common() -> None:
    """INT8 runs on no Blackwell GPU, and 70B on nothing else: both are named."""
    models = [int8("old"), large("large")]
    message = refusal(lambda: shared_nodes(models, accelerators=[A.L4, A.B200]))
    assert message == NO_INT8


def test_fails_when_numbers_of_gpus_differ() -> None:
    """GPUs of one kind are not in common where no instance has the right number."""
    models = [known("one", CHECKPOINTS["mistral-7b"], gpus=1), large("eight")]
    nodes = shared_nodes(models)
    assert nodes.gpus_per_node == 8
    message = refusal(
        lambda: shared_nodes([int8("old"), large("large", gpus=2)], accelerators=[A.L4])
    )
    assert message == (
        "shared nodes: 'models' must fit a GPU, got 'large', which fits none; "
        "'eks-inference fit' says why"
    )


def test_fails_when_a_model_fits_nowhere() -> None:
    """Every model that fits nothing is named, and no contradiction beside it."""
    message = refusal(
        lambda: shared_nodes(
            [int8("a"), int8("b"), large("c")], accelerators=[A.RTX_PRO_6000]
        )
    )
    assert message.splitlines() == [
        f"shared nodes: 'models' must fit a GPU, got {name!r}, which fits none; "
        "'eks-inference fit' says why"
        for name in ("a", "b")
    ]


def test_fails_when_only_any_two_models_have_gpus_in_common() -> None:
    """Three models can have GPUs in common by twos and yet none together."""
    models = [
        # 234 GiB are more than an instance with one A10G has
        known("a", CHECKPOINTS["mistral-7b-awq"], memory_gib=234),
        # 20 CPUs are more than the instance with one H100 has
        known("b", CHECKPOINTS["mistral-7b-awq"], cpu=20),
        # MXFP4 does not run on a T4
        known("c", CHECKPOINTS["gpt-oss-20b"]),
    ]
    common = [A.T4, A.A10G, A.H100]
    for pair in combinations(models, 2):
        assert shared_nodes(pair, accelerators=common, gpus_per_node=1)
    message = refusal(
        lambda: shared_nodes(models, accelerators=common, gpus_per_node=1)
    )
    assert message == (
        "shared nodes: 'models' must have GPUs in common, got 'a', 'b', 'c', of which "
        "any two have; make two pools"
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"models": []}, "'models' must not be empty; pass at least one"),
        (
            {"models": None},
            "'models' must be a list or tuple, got None; put it in brackets",
        ),
        (
            {"models": "chat"},
            "'models' must be a list or tuple, got 'chat'; put it in brackets",
        ),
        ({"models": ["chat"]}, "'models' must be of class Model, got 'chat'"),
        (
            {"models": [make_model()]},
            "'checkpoint' of model 'mistral' must be known, got None",
        ),
        (
            {"models": [int8("a"), int8("a")]},
            "'models' must not name anything twice, got 'a'; rename one",
        ),
        (
            {"accelerators": []},
            "'accelerators' must not be empty; pass for example [Accelerator.L4]",
        ),
        (
            {"accelerators": "l4"},
            "'accelerators' must be a list or tuple, got 'l4'; put it in brackets",
        ),
        (
            {"accelerators": ["l4"]},
            "'accelerators' must be of class Accelerator, got 'l4'",
        ),
        (
            {"accelerators": [A.L4, A.A100_40G], "gpus_per_node": 2},
            (
                "'gpus_per_node' must be a count that instances with one of the "
                "accelerators have (1, 4, 8), got 2"
            ),
        ),
        ({"gpus_per_node": "1"}, "'gpus_per_node' must be a whole number, got '1'"),
        ({"gpus_per_node": True}, "'gpus_per_node' must be a whole number, got True"),
    ],
)
def test_fails_when_a_value_breaks_a_rule(inputs: dict[str, Any], message: str) -> None:
    """Each bad value is refused with its whole message."""
    values = {"models": [int8("a")], **inputs}
    assert refusal(lambda: shared_nodes(**values)) == f"shared nodes: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """Bad models, GPUs and releases are reported together."""
    message = refusal(
        lambda: shared_nodes(
            [make_model(), 5],  # type: ignore[list-item]
            accelerators=[A.L4, None],  # type: ignore[list-item]
            vllm_version="new",
        )
    )
    assert message.splitlines() == [
        "shared nodes: 'models' must be of class Model, got 5",
        "shared nodes: 'checkpoint' of model 'mistral' must be known, got None",
        "shared nodes: 'accelerators' must be of class Accelerator, got None",
        "'vllm_version' must be a release of vLLM, got 'new'; for example '0.31.0'",
    ]


@given(
    st.lists(st.sampled_from(sorted(CHECKPOINTS)), min_size=1, max_size=3),
    st.lists(st.sampled_from(list(A)), min_size=1, max_size=5, unique=True),
)
def test_whatever_is_shared_is_a_pool_that_every_model_fits(
    names: list[str], candidates: list[Accelerator]
) -> None:
    """The nodes satisfy the rules of a pool, hold each model, and are near in price."""
    models = [known(f"m{i}", CHECKPOINTS[name]) for i, name in enumerate(names)]
    try:
        nodes = shared_nodes(models, accelerators=candidates)
    except ConfigurationError:
        return
    assert set(nodes.accelerators) <= set(candidates)
    assert not pool_problems(
        name="gpu",
        accelerators=nodes.accelerators,
        gpus_per_node=nodes.gpus_per_node,
        max_gpus=nodes.gpus_per_node,
        consolidate_after_seconds=600,
    )
    cheapest = SharedNodes(nodes.accelerators[:1], nodes.gpus_per_node)
    prices = dict.fromkeys(nodes.accelerators, 0.0)
    for model in models:
        sizing, alone = sizing_on(model, nodes), sizing_on(model, cheapest)
        assert sizing is not None
        assert alone is not None
        assert (sizing.gpus, sizing.max_model_len, sizing.max_num_seqs) == (
            alone.gpus,
            alone.max_model_len,
            alone.max_num_seqs,
        )
        for item in sizing.instances:
            assert item.usd_per_hour is not None
            prices[item.accelerator] = max(prices[item.accelerator], item.usd_per_hour)
    paid = list(prices.values())
    assert paid == sorted(paid)
    assert paid[-1] <= 2 * paid[0]


@given(st.lists(st.sampled_from(sorted(CHECKPOINTS)), min_size=1, max_size=3))
def test_models_can_be_in_any_order(names: list[str]) -> None:
    """Which model comes first does not matter."""
    models = [known(f"m{i}", CHECKPOINTS[name]) for i, name in enumerate(names)]
    assert shared_nodes(models) == shared_nodes(models[::-1])
