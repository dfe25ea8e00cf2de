"""Tests of what is served."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Model
from eks_inference.planning.catalogue import CHECKPOINTS
from tests.library.conftest import BadInputs, Bucket, bad_inputs, make_model, refusal

NAME = (
    "'name' must be a DNS label of at most 54 characters "
    "(a-z, 0-9 and '-', starting with a letter), got {!r}"
)
PREFIX = (
    "'prefix' must be a key prefix: names of letters, digits and '._=+@-', with a '/' "
    "behind each, got {!r}; for example 'models/mistral-7b-awq/'"
)
RESERVED = (
    "'name' must not start with 'vllm', got {!r}: a Service of that name "
    "injects VLLM_* variables that vLLM takes for its own; choose another name"
)

BAD: BadInputs = [
    ({"name": ""}, NAME.format("")),
    ({"name": "Mistral"}, NAME.format("Mistral")),
    ({"name": "7b"}, NAME.format("7b")),
    ({"name": "a.b"}, NAME.format("a.b")),
    ({"name": "m" * 55}, NAME.format("m" * 55)),
    ({"name": None}, NAME.format(None)),
    ({"name": "vllm"}, RESERVED.format("vllm")),
    ({"name": "vllm-chat"}, RESERVED.format("vllm-chat")),
    ({"prefix": ""}, PREFIX.format("")),
    ({"prefix": "/"}, PREFIX.format("/")),
    ({"prefix": "models/a"}, PREFIX.format("models/a")),
    ({"prefix": "/models/a/"}, PREFIX.format("/models/a/")),
    ({"prefix": "models/*/"}, PREFIX.format("models/*/")),
    ({"prefix": "models/?/"}, PREFIX.format("models/?/")),
    ({"prefix": "my models/"}, PREFIX.format("my models/")),
    ({"prefix": "models/../a/"}, PREFIX.format("models/../a/")),
    ({"prefix": "./models/"}, PREFIX.format("./models/")),
    ({"prefix": "models//a/"}, PREFIX.format("models//a/")),
    ({"prefix": "models/$a/"}, PREFIX.format("models/$a/")),
    ({"prefix": None}, PREFIX.format(None)),
    ({"weights_gb": 0}, "'weights_gb' must be 0.01 to 2000, got 0"),
    ({"weights_gb": 2001}, "'weights_gb' must be 0.01 to 2000, got 2001"),
    ({"weights_gb": "4"}, "'weights_gb' must be a number, got '4'"),
    ({"weights_gb": float("nan")}, "'weights_gb' must be 0.01 to 2000, got nan"),
    ({"max_model_len": 255}, "'max_model_len' must be 256 to 10000000, got 255"),
    ({"max_model_len": "8k"}, "'max_model_len' must be a whole number, got '8k'"),
    (
        {"weights_gb": None},
        "'weights_gb' must be a number, got None; a 'checkpoint' would say it",
    ),
    (
        {"max_model_len": None},
        "'max_model_len' must be a whole number, got None; a 'checkpoint' would say it",
    ),
    (
        {"checkpoint": "mistral-7b-awq"},
        "'checkpoint' must be of class Checkpoint, got 'mistral-7b-awq'",
    ),
    (
        {"checkpoint": CHECKPOINTS["mistral-7b-awq"], "weights_gb": 14.5},
        (
            "'weights_gb' must be that of the 'checkpoint' 'mistral-7b-awq' (4.15), "
            "got 14.5; leave it out"
        ),
    ),
    (
        {"checkpoint": CHECKPOINTS["mistral-7b-awq"], "max_model_len": 40_000},
        (
            "'max_model_len' must be 256 to 32768, got 40000; 'mistral-7b-awq' was "
            "made for 32768 tokens"
        ),
    ),
    ({"max_num_seqs": 1}, "'max_num_seqs' must be 2 to 4096, got 1"),
    ({"max_num_seqs": 4097}, "'max_num_seqs' must be 2 to 4096, got 4097"),
    ({"gpus": 0}, "'gpus' must be 1 to 8, got 0"),
    ({"gpus": 9}, "'gpus' must be 1 to 8, got 9"),
    ({"gpus": True}, "'gpus' must be a whole number, got True"),
    (
        {"gpu_memory_utilization": 0.09},
        "'gpu_memory_utilization' must be 0.1 to 0.98, got 0.09",
    ),
    (
        {"gpu_memory_utilization": 1},
        "'gpu_memory_utilization' must be 0.1 to 0.98, got 1",
    ),
    (
        {"gpu_memory_utilization": "90%"},
        "'gpu_memory_utilization' must be a number, got '90%'",
    ),
    ({"cpu": 0}, "'cpu' must be 1 to 192, got 0"),
    (
        {"max_model_len": 10_000_001},
        "'max_model_len' must be 256 to 10000000, got 10000001",
    ),
    ({"cpu": 193}, "'cpu' must be 1 to 192, got 193"),
    (
        {"served_name": "a b"},
        (
            "'served_name' must be a name of letters, digits and '._/:-', at most 200 "
            "long, got 'a b'; for example 'mistral-7b-instruct'"
        ),
    ),
    (
        {"served_name": 'x"}'},
        (
            "'served_name' must be a name of letters, digits and '._/:-', at most 200 "
            """long, got 'x"}'; for example 'mistral-7b-instruct'"""
        ),
    ),
    ({"memory_gib": 3073}, "'memory_gib' must be 4 to 3072, got 3073"),
    ({"cpu": "500m"}, "'cpu' must be a whole number, got '500m'"),
    ({"memory_gib": 3}, "'memory_gib' must be 4 to 3072, got 3"),
    ({"memory_gib": "12Gi"}, "'memory_gib' must be a whole number, got '12Gi'"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a model is refused with its whole message."""
    name = changes.get("name", "mistral")
    assert refusal(lambda: make_model(**changes)) == f"model {name!r}: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a model are reported together."""
    message = refusal(
        lambda: Model(
            name="vllm",
            bucket=Bucket(),
            prefix="x",
            weights_gb=0,
            max_model_len=0,
            max_num_seqs=0,
            gpus=0,
            gpu_memory_utilization=0,
            cpu=0,
            memory_gib=0,
        )
    )
    assert message.splitlines() == [
        f"model 'vllm': {problem}"
        for problem in (
            RESERVED.format("vllm"),
            PREFIX.format("x"),
            "'weights_gb' must be 0.01 to 2000, got 0",
            "'max_model_len' must be 256 to 10000000, got 0",
            "'max_num_seqs' must be 2 to 4096, got 0",
            "'gpus' must be 1 to 8, got 0",
            "'gpu_memory_utilization' must be 0.1 to 0.98, got 0",
            "'cpu' must be 1 to 192, got 0",
            "'memory_gib' must be 4 to 3072, got 0",
        )
    ]


def test_factory_equals_the_constructor() -> None:
    """A model from a bucket is the model with the same values."""
    made = Model.from_bucket(
        Bucket(),
        "models/mistral/",
        name="mistral",
        weights_gb=4.15,
        max_model_len=8_192,
        max_num_seqs=16,
    )
    assert made == make_model(max_num_seqs=16)
    assert made.max_num_seqs == 16


def test_fails_when_a_limit_is_unknown() -> None:
    """A limit that does not exist is not swallowed by the factory."""
    with pytest.raises(TypeError, match="max_num_sequences"):
        Model.from_bucket(
            Bucket(),
            "models/mistral/",
            name="mistral",
            weights_gb=4.15,
            max_model_len=8_192,
            max_num_sequences=16,
        )


def test_factory_checks_its_values() -> None:
    """Values of the factory are checked like those of the constructor."""
    message = refusal(
        lambda: Model.from_bucket(
            Bucket(), "x/", name="m", weights_gb=1, max_model_len=256, cpu=0.5
        )
    )
    assert message == "model 'm': 'cpu' must be a whole number, got 0.5"


def test_uri_is_the_prefix_in_the_bucket() -> None:
    """The address of the weights is the bucket's name and the prefix."""
    assert make_model().uri == "s3://weights/models/mistral/"


@pytest.mark.parametrize("prefix", ["a/", "models/v1.0+awq@2/", "m/${Token[A.1]}/"])
def test_accepts_prefixes(prefix: str) -> None:
    """Names of letters, digits and a few signs are a prefix, and tokens are."""
    assert make_model(prefix=prefix).prefix == prefix


def test_the_autoscalers_name_fits_a_label() -> None:
    """The longest name still leaves room for what KEDA puts in front of it."""
    longest = make_model(name="m" * 54)
    assert len(f"keda-hpa-{longest.name}") == 63
