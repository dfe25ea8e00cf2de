"""Bad values for every argument of everything public, each with its whole message."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import FunctionType
from typing import Any

import aws_cdk as cdk
import pytest

import eks_inference
from eks_inference import (
    Accelerator,
    Capacity,
    ClusterAlarms,
    CompileCache,
    GpuInferencePool,
    ImageCache,
    InferenceEndpoints,
    ModelEndpoint,
    ModelImport,
    ModelStore,
    PodIdentityRole,
    QueueScaledModel,
)
from tests.library import (
    test_activation,
    test_architecture,
    test_capacity,
    test_checkpoints,
    test_drain,
    test_image_cache,
    test_image_snapshot,
    test_metric,
    test_model,
    test_model_import,
    test_node_identity,
    test_objective,
    test_observability,
    test_planning_pool,
    test_scaling,
    test_scaling_formula,
    test_secret_key,
    test_signal,
)
from tests.library.bad_constructs import (
    ALARMS,
    CACHE,
    ENDPOINT,
    ENDPOINTS,
    IMAGES,
    MODEL,
    POOL,
    ROLE,
    STORE,
)
from tests.library.conftest import (
    BadInputs,
    children,
    import_bucket,
    import_cluster,
    import_group,
    import_vpc,
    make_model,
    refusal,
)

Given = Mapping[str, Any]
"""Arguments; a function makes its own of the stack."""

CONSTRUCTS: Mapping[str, tuple[Callable[..., object], Given, BadInputs]] = {
    "GpuInferencePool": (
        GpuInferencePool,
        {"id": "Gpu", "cluster": import_cluster},
        POOL,
    ),
    "QueueScaledModel": (
        QueueScaledModel,
        {
            "id": "Chat",
            "pool": lambda stack: GpuInferencePool.from_pool_name(
                "gpu", cluster=import_cluster(stack)
            ),
            "model": make_model(),
        },
        MODEL,
    ),
    "ClusterAlarms": (
        ClusterAlarms,
        {"id": "Alarms", "cluster_name": "platform"},
        ALARMS,
    ),
    "CompileCache": (
        CompileCache,
        {
            "id": "Kernels",
            "cluster": import_cluster,
            "vpc": import_vpc,
            "node_security_group": import_group,
        },
        CACHE,
    ),
    "ImageCache": (ImageCache, {"id": "Images"}, IMAGES),
    "InferenceEndpoints": (
        InferenceEndpoints,
        {"id": "Endpoints", "vpc": import_vpc},
        ENDPOINTS,
    ),
    "ModelEndpoint": (
        ModelEndpoint,
        {"id": "Endpoint", "cluster": import_cluster, "name": "chat"},
        ENDPOINT,
    ),
    "ModelImport": (
        ModelImport,
        {
            "id": "Weights",
            "cluster": import_cluster,
            "bucket": import_bucket,
            "prefix": "models/qwen/",
            "source": test_model_import.HUB,
        },
        test_model_import.BAD_IMPORT,
    ),
    "ModelStore": (ModelStore, {"id": "Models"}, STORE),
    "PodIdentityRole": (
        PodIdentityRole,
        {
            "id": "Role",
            "cluster": import_cluster,
            "namespace": "inference",
            "service_account": "mistral",
        },
        ROLE,
    ),
}
"""What is made, with which good values, and the bad ones."""

VALUES: Mapping[str, Sequence[tuple[Mapping[str, Any], object]]] = {
    "Activation": test_activation.BAD,
    "Capacity": test_capacity.BAD,
    "ImageSnapshot": test_image_snapshot.BAD,
    "Drain": test_drain.BAD,
    "LatencyObjective": test_objective.BAD,
    "Architecture": test_architecture.BAD,
    "Checkpoint": test_checkpoints.BAD,
    "BucketSource": test_model_import.BAD_BUCKET,
    "HuggingFaceSource": test_model_import.BAD_HUB,
    "Metric": test_metric.BAD,
    "ModelImport": test_model_import.BAD_IMPORT,
    "Model": test_model.BAD,
    "NodeIdentity": test_node_identity.BAD,
    "Observability": test_observability.BAD,
    "QueueScaling": test_scaling.BAD,
    "ScalingFormula": test_scaling_formula.BAD,
    "SecretKey": test_secret_key.BAD,
    "Signal": test_signal.BAD,
}
"""The bad values of each value class, which its own tests try."""

UNCHECKED = {
    "ConfigurationError": {"problems"},
    "Guardrails": {"scope"},
    "Model": {"bucket"},
    "PlatformRequirements": {"requirements"},
    "Requirement": {"name", "reason", "resource", "namespace"},
}
"""Arguments that are taken as they are: what is read of them decides."""

ROWS = [
    (name, changes, message)
    for name, (_, _, table) in CONSTRUCTS.items()
    for changes, message in table
]


def given(stack: cdk.Stack, *values: Given) -> dict[str, Any]:
    """Return arguments, with those made that need a stack."""
    return {
        key: value(stack) if isinstance(value, FunctionType) else value
        for group in values
        for key, value in group.items()
    }


def of(table: Sequence[tuple[Mapping[str, Any], object]]) -> set[str]:
    """Return the arguments that a table has bad values for."""
    return {key for changes, _ in table for key in changes} - {"id"}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    ROWS,
    ids=[f"{name}-{'-'.join(changes)}" for name, changes, _ in ROWS],
)
def test_fails_when_a_value_breaks_a_rule(
    name: str, changes: Given, message: str, stack: cdk.Stack
) -> None:
    """A refused construct says everything that is wrong, and defines nothing."""
    make, good, _ = CONSTRUCTS[name]
    values = given(stack, {**good, **changes})
    before = children(stack)
    assert refusal(lambda: make(stack, **values)) == message
    assert children(stack) == before


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_fails_when_an_argument_is_missing(name: str, stack: cdk.Stack) -> None:
    """Without a required argument nothing is defined, and Python says which."""
    make, good, _ = CONSTRUCTS[name]
    signature = inspect.signature(vars(make)["__init__"])
    required = {
        key
        for key, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        and parameter.default is inspect.Parameter.empty
    }
    assert required == good.keys() - {"id"}
    for missing in required:
        values = given(stack, {key: good[key] for key in good if key == "id"})
        with pytest.raises(TypeError, match=re.escape(repr(missing))):
            make(stack, **values)
    assert children(stack) == [stack.node.path]


@pytest.mark.parametrize("name", eks_inference.__all__)
def test_every_argument_has_a_bad_value(name: str) -> None:
    """No argument of anything public is without a value that is refused."""
    public = getattr(eks_inference, name)
    if "__init__" not in vars(public) or getattr(public, "_is_protocol", False):
        return
    if issubclass(public, Enum):
        return
    arguments = set(inspect.signature(vars(public)["__init__"]).parameters)
    arguments -= {"self", "scope", "id"} - UNCHECKED.get(name, set())
    table = CONSTRUCTS[name][2] if name in CONSTRUCTS else VALUES.get(name, [])
    assert of(table) | UNCHECKED.get(name, set()) >= arguments


def test_there_are_many() -> None:
    """The tables hold a few hundred bad values, and no row twice."""
    tables = [
        *(table for _, _, table in CONSTRUCTS.values()),
        *VALUES.values(),
        test_planning_pool.BAD,
        test_image_cache.BAD_IMAGES,
    ]
    assert sum(map(len, tables)) >= 200
    for table in tables:
        keys = [str(sorted(changes.items(), key=str)) for changes, _ in table]
        assert len(keys) == len(set(keys))


def test_every_message_names_argument_and_value() -> None:
    """Every line of every message has the form that all messages have."""
    for _, _, message in ROWS:
        for line in message.splitlines():
            assert re.match(r"[a-z ]+ ('[^']*'|\d+): '[^:]+' (must|needs) ", line), line
            assert ", got " in line or "must not be empty; " in line, line
            assert not line.endswith("."), line


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "A"},
        {"accelerators": ()},
        {"gpus_per_node": 3},
        {"max_gpus": 0},
        {"max_gpus": 4, "gpus_per_node": 8},
    ],
)
def test_imported_pools_are_checked_as_own_ones(
    changes: Given, stack: cdk.Stack
) -> None:
    """What is said of another app's pool is refused with the same messages."""
    cluster = import_cluster(stack)
    values = {"name": "gpu", **changes}
    before = children(stack)
    imported = refusal(
        lambda: GpuInferencePool.from_pool_name(
            values["name"],
            cluster=cluster,
            **{key: values[key] for key in values if key != "name"},
        )
    )
    made = refusal(lambda: GpuInferencePool(stack, "Gpu", cluster=cluster, **values))
    assert imported == made
    assert children(stack) == before


def test_imported_pool_is_what_is_said_of_it(stack: cdk.Stack) -> None:
    """A pool of another app has the values given, and nothing to wait for."""
    cluster = import_cluster(stack)
    pool = GpuInferencePool.from_pool_name(
        "gpu",
        cluster=cluster,
        accelerators=[Accelerator.L40S],
        gpus_per_node=4,
        capacity=Capacity.on_demand(),
        max_gpus=8,
    )
    assert pool.cluster is cluster
    assert (pool.manifest, pool.facts) == (None, None)
    assert pool.pool.accelerators == (Accelerator.L40S,)
    assert (pool.pool.gpus_per_node, pool.pool.max_gpus) == (4, 8)
    assert pool.pool.capacity == Capacity.on_demand()
    default = GpuInferencePool.from_pool_name("gpu", cluster=cluster).pool
    made = GpuInferencePool(stack, "Gpu", cluster=cluster).pool
    assert default == made
