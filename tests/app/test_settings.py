"""Every setting that is refused, with the whole message that its author reads."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eks_inference import ConfigurationError
from infra.settings import (
    ImageSettings,
    ModelSettings,
    NetworkSettings,
    PoolSettings,
    Schedule,
    Settings,
    SystemNodes,
)
from infra.stages import load
from infra.validation import validate

ROOT = Path(__file__).parents[2]

POOL = PoolSettings(name="gpu-24", accelerators=("a10g", "l4"), max_gpus=10)
MODEL = ModelSettings(
    name="chat",
    pool="gpu-24",
    prefix="models/chat/",
    weights_gb=4.15,
    max_model_len=8192,
)
GOOD = Settings(stage="good", pools=(POOL,), models=(MODEL,))
WINDOW = Schedule(timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 18 * * 1-5")

GPUS = (
    "'t4', 't4g', 'a10g', 'l4', 'l40s', 'rtx_pro_4500', 'rtx_pro_6000', 'a100_40g', "
    "'a100_80g', 'h100', 'h200', 'b200', 'b300'"
)
SERVICES = (
    "'ecr.api', 'ecr.dkr', 'sts', 'ec2', 'eks', 'eks-auth', 'sqs', 'ssm', 'logs', "
    "'elasticfilesystem'"
)
LABEL = "(a-z, 0-9 and '-', starting with a letter)"
ADMIN = "'arn:aws:iam::111122223333:role/Admin'"
PREFIX_RULE = (
    "'prefix' must be a key prefix that ends with '/', without leading '/', blanks, "
    "'*' or '?'"
)
PREFIX_REPAIR = "for example 'models/mistral-7b-awq/'"
FEW_ZONES = "an image that is not cached yet comes through NAT"
AWAKE = "an empty node must outlive a cold start"


def stage(**changes: Any) -> Settings:
    """Return the good stage with other values."""
    return replace(GOOD, **changes)


def network(**changes: Any) -> Settings:
    """Return the good stage with another network."""
    return stage(network=NetworkSettings(**changes))


def image(**changes: Any) -> Settings:
    """Return the good stage with another image."""
    return stage(image=ImageSettings(**changes))


def nodes(**changes: Any) -> Settings:
    """Return the good stage with other system nodes."""
    return stage(system_nodes=SystemNodes(**changes))


def pool(**changes: Any) -> Settings:
    """Return the good stage with another pool, on which its model still runs."""
    changed = replace(POOL, **changes)
    return stage(pools=(changed,), models=(replace(MODEL, pool=changed.name),))


def model(**changes: Any) -> Settings:
    """Return the good stage with another model."""
    return stage(models=(replace(MODEL, **changes),))


def window(**changes: Any) -> Settings:
    """Return the good stage with a model that only a bad schedule wakes."""
    return model(min_replicas=0, schedule=replace(WINDOW, **changes))


def two_models(**changes: Any) -> Settings:
    """Return the good stage with a second model."""
    return stage(models=(replace(MODEL, max_replicas=5), replace(MODEL, **changes)))


BAD: dict[str, tuple[Settings, str]] = {
    # the stage
    "stage not a label": (
        stage(stage="Good_1"),
        f"'stage' must be a DNS label of at most 20 characters {LABEL}, got 'Good_1'",
    ),
    "stage too long": (
        stage(stage="a" * 21),
        (
            f"'stage' must be a DNS label of at most 20 characters {LABEL}, "
            f"got '{'a' * 21}'"
        ),
    ),
    "account not an id": (
        stage(account="1111", region="us-east-1"),
        "'account' must be an AWS account id (12 digits), got '1111'",
    ),
    "account a number": (
        stage(account=111122223333, region="us-east-1"),
        "'account' must be an AWS account id (12 digits), got 111122223333",
    ),
    "account without region": (
        stage(account="111122223333"),
        (
            "'account' and 'region' must be given together or not at all, "
            "got '111122223333' and None; add the other one"
        ),
    ),
    "region without account": (
        stage(region="us-east-1"),
        (
            "'account' and 'region' must be given together or not at all, "
            "got None and 'us-east-1'; add the other one"
        ),
    ),
    "region a zone": (
        stage(account="111122223333", region="us-east-1a"),
        "'region' must be an AWS region, got 'us-east-1a'; for example 'us-east-1'",
    ),
    "kubernetes unknown": (
        stage(kubernetes_version="1.28"),
        (
            "'kubernetes_version' must be one of '1.29', '1.33', '1.34', '1.35', "
            "got '1.28'; or add a row to infra/versions.py"
        ),
    ),
    "kubernetes a number": (
        stage(kubernetes_version=1.35),
        (
            "'kubernetes_version' must be one of '1.29', '1.33', '1.34', '1.35', "
            "got 1.35; or add a row to infra/versions.py"
        ),
    ),
    "retain a text": (
        stage(retain="no"),
        "'retain' must be True or False, got 'no'",
    ),
    "cache switch a number": (
        stage(shared_compile_cache=1),
        "'shared_compile_cache' must be True or False, got 1",
    ),
    "docker hub secret elsewhere": (
        stage(docker_hub_secret="docker-hub"),
        (
            "'docker_hub_secret' must be the name of a secret that begins with "
            "'ecr-pullthroughcache/', got 'docker-hub'"
        ),
    ),
    "admin not an ARN": (
        stage(admin_role_arns=("Admin",)),
        (
            "'admin_role_arns' must be the ARNs of IAM roles, got 'Admin'; "
            f"for example {ADMIN}"
        ),
    ),
    "admin an account": (
        stage(admin_role_arns=("arn:aws:iam::111122223333:root",)),
        (
            "'admin_role_arns' must be the ARNs of IAM roles, "
            f"got 'arn:aws:iam::111122223333:root'; for example {ADMIN}"
        ),
    ),
    "API open to everyone": (
        stage(public_access_cidrs=("0.0.0.0/0",)),
        (
            "'public_access_cidrs' must be /8 or smaller, got '0.0.0.0/0'; "
            "name the networks that you administer from"
        ),
    ),
    "API open to no network": (
        stage(public_access_cidrs=("office",)),
        "'public_access_cidrs' must be networks such as '192.0.2.0/24', got 'office'",
    ),
    # the network
    "CIDR too large": (
        network(cidr="10.0.0.0/8"),
        (
            "network: 'cidr' must be /16 to /20, got '10.0.0.0/8'; "
            "every pod needs an address of it"
        ),
    ),
    "CIDR too small": (
        network(cidr="10.0.0.0/24"),
        (
            "network: 'cidr' must be /16 to /20, got '10.0.0.0/24'; "
            "every pod needs an address of it"
        ),
    ),
    "CIDR public": (
        network(cidr="8.8.0.0/16"),
        (
            "network: 'cidr' must be a private network, got '8.8.0.0/16'; "
            "use for example '10.0.0.0/16'"
        ),
    ),
    "CIDR with host bits": (
        network(cidr="10.0.0.1/16"),
        "network: 'cidr' must be a network such as '10.0.0.0/16', got '10.0.0.1/16'",
    ),
    "CIDR a word": (
        network(cidr="default"),
        "network: 'cidr' must be a network such as '10.0.0.0/16', got 'default'",
    ),
    "CIDR missing": (
        network(cidr=None),
        "network: 'cidr' must be a network such as '10.0.0.0/16', got None",
    ),
    "one zone": (
        network(zones=1),
        "network: 'zones' must be 2 to 6, got 1",
    ),
    "no NAT": (
        network(nat_gateways=0),
        f"network: 'nat_gateways' must be 1 to 3, got 0; {FEW_ZONES}",
    ),
    "more NAT than zones": (
        network(nat_gateways=4),
        f"network: 'nat_gateways' must be 1 to 3, got 4; {FEW_ZONES}",
    ),
    "zone names do not match": (
        network(availability_zones=("us-east-1a", "us-east-1b")),
        "network: 'availability_zones' must name 'zones' (3) zones, got 2",
    ),
    "zone named twice": (
        network(zones=2, availability_zones=("us-east-1a", "us-east-1a")),
        (
            "network: 'availability_zones' must not name anything twice, "
            "got 'us-east-1a'; remove one"
        ),
    ),
    "endpoint unknown": (
        network(interface_endpoints=("bedrock",)),
        f"network: 'interface_endpoints' must be one of {SERVICES}, got 'bedrock'",
    ),
    "endpoint twice": (
        network(interface_endpoints=("sts", "sts")),
        (
            "network: 'interface_endpoints' must not name anything twice, got 'sts'; "
            "remove one"
        ),
    ),
    # the image and the nodes of the controllers
    "image elsewhere": (
        image(repository="public.ecr.aws/vllm:v1"),
        (
            "image: 'repository' must be a repository below public.ecr.aws, "
            "got 'public.ecr.aws/vllm:v1'; for example 'deep-learning-containers/vllm'"
        ),
    ),
    "tag latest": (
        image(tag="latest"),
        (
            "image: 'tag' must be pinned, got 'latest'; nodes that start on different "
            "days would run different versions"
        ),
    ),
    "tag not a tag": (
        image(tag="0.31:gpu"),
        "image: 'tag' must be an image tag, got '0.31:gpu'",
    ),
    "digest too short": (
        image(digest="sha256:abc"),
        "image: 'digest' must be 'sha256:' and 64 hex digits, got 'sha256:abc'",
    ),
    "instance type unknown": (
        nodes(instance_type="large"),
        (
            "system_nodes: 'instance_type' must be an EC2 instance type, got 'large'; "
            "for example 'm6i.large'"
        ),
    ),
    "one system node": (
        nodes(count=1),
        (
            "system_nodes: 'count' must be at least 2, got 1; "
            "Karpenter's two replicas never share a node"
        ),
    ),
    # a pool
    "pool not a label": (
        pool(name="GPU"),
        (
            f"pool 'GPU': 'name' must be a DNS label of at most 63 characters {LABEL}, "
            "got 'GPU'"
        ),
    ),
    "GPU unknown": (
        pool(accelerators=("a10g", "v100")),
        f"pool 'gpu-24': 'accelerators' must be one of {GPUS}, got 'v100'",
    ),
    "no GPU": (
        pool(accelerators=()),
        (
            "pool 'gpu-24': 'accelerators' must not be empty; "
            "pass for example [Accelerator.L4]"
        ),
    ),
    "GPU twice": (
        pool(accelerators=("l4", "l4")),
        (
            "pool 'gpu-24': 'accelerators' must not name anything twice, got 'l4'; "
            "remove one"
        ),
    ),
    "two CPU architectures": (
        pool(accelerators=("t4", "t4g")),
        (
            "pool 'gpu-24': 'accelerators' must share one CPU architecture, "
            "got t4 (amd64), t4g (arm64); make a pool for each"
        ),
    ),
    "GPUs per node not offered": (
        pool(accelerators=("l4",), gpus_per_node=2),
        (
            "pool 'gpu-24': 'gpus_per_node' must be a count that instances with l4 "
            "have (1, 4, 8), got 2"
        ),
    ),
    "GPUs per node a flag": (
        pool(gpus_per_node=True),
        "pool 'gpu-24': 'gpus_per_node' must be a whole number, got True",
    ),
    "capacity unknown": (
        pool(capacity="reserved"),
        (
            "pool 'gpu-24': 'capacity' must be one of 'on-demand', 'spot', "
            "'spot-with-fallback', got 'reserved'"
        ),
    ),
    "pool limit missing": (
        pool(max_gpus=None),
        "pool 'gpu-24': 'max_gpus' must be a whole number, got None",
    ),
    "consolidation too short": (
        pool(consolidate_after_seconds=30),
        (
            "pool 'gpu-24': 'consolidate_after_seconds' must be at least 300, got 30; "
            f"{AWAKE}"
        ),
    ),
    # a model
    "model not a label": (
        model(name="Chat"),
        (
            f"model 'Chat': 'name' must be a DNS label of at most 54 characters "
            f"{LABEL}, got 'Chat'"
        ),
    ),
    "model name too long": (
        model(name="a" * 55),
        (
            f"model '{'a' * 55}': 'name' must be a DNS label of at most 54 characters "
            f"{LABEL}, got '{'a' * 55}'"
        ),
    ),
    "model name of vLLM's": (
        model(name="vllm-chat"),
        (
            "model 'vllm-chat': 'name' must not start with 'vllm', got 'vllm-chat': a "
            "Service of that name injects VLLM_* variables that vLLM takes for its "
            "own; choose another name"
        ),
    ),
    "prefix without slash": (
        model(prefix="models/chat"),
        f"model 'chat': {PREFIX_RULE}, got 'models/chat'; {PREFIX_REPAIR}",
    ),
    "prefix with wildcard": (
        model(prefix="models/*/"),
        f"model 'chat': {PREFIX_RULE}, got 'models/*/'; {PREFIX_REPAIR}",
    ),
    "prefix absolute": (
        model(prefix="/models/chat/"),
        f"model 'chat': {PREFIX_RULE}, got '/models/chat/'; {PREFIX_REPAIR}",
    ),
    "prefix of the whole bucket": (
        model(prefix="/"),
        f"model 'chat': {PREFIX_RULE}, got '/'; {PREFIX_REPAIR}",
    ),
    "weights negative": (
        model(weights_gb=-1),
        "model 'chat': 'weights_gb' must be 0.01 to 2000, got -1",
    ),
    "weights a text": (
        model(weights_gb="4.15"),
        "model 'chat': 'weights_gb' must be a number, got '4.15'",
    ),
    "context too short": (
        model(max_model_len=8),
        "model 'chat': 'max_model_len' must be at least 256, got 8",
    ),
    "context with a unit": (
        model(max_model_len="8k"),
        "model 'chat': 'max_model_len' must be a whole number, got '8k'",
    ),
    "one sequence": (
        model(max_num_seqs=1),
        "model 'chat': 'max_num_seqs' must be 2 to 4096, got 1",
    ),
    "more memory than there is": (
        model(gpu_memory_utilization=1.5),
        "model 'chat': 'gpu_memory_utilization' must be 0.1 to 0.98, got 1.5",
    ),
    "memory not a number": (
        model(gpu_memory_utilization=float("nan")),
        "model 'chat': 'gpu_memory_utilization' must be 0.1 to 0.98, got nan",
    ),
    "no CPU": (
        model(cpu=0),
        "model 'chat': 'cpu' must be at least 1, got 0",
    ),
    "memory in MiB": (
        model(memory_gib=12.5),
        "model 'chat': 'memory_gib' must be a whole number, got 12.5",
    ),
    # its scaling
    "least above most": (
        model(min_replicas=5, max_replicas=2),
        (
            "model 'chat': 'max_replicas' must be at least 'min_replicas' (5), got 2; "
            "raise it or lower 'min_replicas'"
        ),
    ),
    "replicas a flag": (
        model(min_replicas=True),
        "model 'chat': 'min_replicas' must be a whole number, got True",
    ),
    "zero that nothing wakes": (
        model(min_replicas=0),
        (
            "model 'chat': 'min_replicas' must be at least 1 without an 'activation', "
            "got 0: the metrics come from the pods, so nothing would ever start the "
            "first one; set it to 1 or pass for example Activation.schedule(...)"
        ),
    ),
    "weight of zero": (
        model(waiting_weight=0),
        "model 'chat': 'waiting_weight' must be at least 1, got 0",
    ),
    "no room below full": (
        model(target_share=1.0),
        "model 'chat': 'target_share' must be 0.05 to 0.95, got 1.0",
    ),
    "cron of words": (
        window(start="8 o'clock"),
        (
            "model 'chat': 'start' must be a cron expression with five fields, "
            "got \"8 o'clock\"; for example '0 8 * * 1-5'"
        ),
    ),
    "cron with seconds": (
        window(end="0 0 18 * * 1-5"),
        (
            "model 'chat': 'end' must be a cron expression with five fields, "
            "got '0 0 18 * * 1-5'; for example '0 8 * * 1-5'"
        ),
    ),
    "window without length": (
        window(end=WINDOW.start),
        "model 'chat': 'end' must differ from 'start', got '0 8 * * 1-5' twice",
    ),
    "time zone an offset": (
        window(timezone="+02:00"),
        (
            "model 'chat': 'timezone' must be the IANA name of a time zone, "
            "got '+02:00'; for example 'Europe/Berlin'"
        ),
    ),
    "window without replica": (
        window(replicas=0),
        "model 'chat': 'replicas' must be at least 1, got 0",
    ),
    # how they fit together
    "no pools": (
        stage(pools=(), models=()),
        "'pools' must not be empty; add one to infra/stages.py",
    ),
    "pool without model": (
        stage(pools=(POOL, replace(POOL, name="idle"))),
        (
            "pool 'idle': must have at least one model, got none; "
            "remove the pool or let a model name it"
        ),
    ),
    "two pools with one name": (
        stage(pools=(POOL, POOL)),
        "'pools' must not name anything twice, got 'gpu-24'; rename one",
    ),
    "two models with one name": (
        two_models(max_replicas=5),
        "'models' must not name anything twice, got 'chat'; rename one",
    ),
    "pool of a model unknown": (
        stage(models=(MODEL, replace(MODEL, name="code", pool="gpu-80"))),
        "model 'code': 'pool' must name a pool ('gpu-24'), got 'gpu-80'",
    ),
    "pool too small for one model": (
        model(max_replicas=11),
        (
            "model 'chat': 'max_gpus' of the pool must be at least what 'max_replicas' "
            "replicas need (1 x 11), got 10; raise it or lower 'max_replicas'"
        ),
    ),
    "pool too small for all models": (
        two_models(name="code", max_replicas=6),
        (
            "pool 'gpu-24': 'max_gpus' must be at least what its models need together "
            "(5 + 6 = 11), got 10; raise it or lower a model's 'max_replicas'"
        ),
    ),
    "more GPUs than a node has": (
        model(gpus=2, max_replicas=5),
        (
            "model 'chat': 'gpus' must be at most the GPUs of a node (1), got 2; "
            "raise the pool's 'gpus_per_node'"
        ),
    ),
    "too many models": (
        stage(
            pools=(replace(POOL, max_gpus=101),),
            models=tuple(
                replace(MODEL, name=f"m{index}", max_replicas=1) for index in range(101)
            ),
        ),
        "'models' must be at most 100, got 101; make a second stage for the others",
    ),
}

TEN_PROBLEMS = Settings(
    stage="Bad",
    kubernetes_version="1.28",
    public_access_cidrs=("0.0.0.0/0",),
    network=NetworkSettings(cidr="8.8.0.0/16", zones=1),
    image=ImageSettings(tag="latest"),
    system_nodes=SystemNodes(count=1),
    pools=(replace(POOL, capacity="reserved"),),
    models=(replace(MODEL, prefix="models", max_num_seqs=1),),
)

FORM = re.compile(r"([a-z_]+( '[^']+')?: )?'\w+'.* must .*")
"""Quoted name, rule, value got; the repair where the rule does not already say it."""

REFUSED = 1
"""Exit status of the app when it refuses a stage."""


def problems_of(settings: Settings) -> tuple[str, ...]:
    """Return what is wrong with settings."""
    try:
        validate(settings)
    except ConfigurationError as error:
        return error.problems
    return ()


def run_app(
    project: Path, context: Mapping[str, object], output: Path
) -> subprocess.CompletedProcess[str]:
    """Run the app of a project as the CDK CLI does."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=project,
        env=os.environ
        | {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(output)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_good_settings_are_accepted() -> None:
    """The settings that every bad case departs from have no problem."""
    assert problems_of(GOOD) == ()
    assert problems_of(window()) == ()


@pytest.mark.parametrize("case", BAD)
def test_bad_setting_gets_one_clear_message(case: str) -> None:
    """A bad value yields exactly one message: name, rule, value, repair."""
    settings, message = BAD[case]
    assert problems_of(settings) == (message,)


@pytest.mark.parametrize("case", BAD)
def test_messages_have_one_form(case: str) -> None:
    """Every message quotes the setting, states the rule and shows what it got."""
    _, message = BAD[case]
    assert FORM.fullmatch(message) or message.startswith("pool 'idle': must have")
    assert ", got " in message or "must not be empty; " in message


def test_all_problems_are_reported_at_once() -> None:
    """A stage with ten problems names all ten, in the order of the settings."""
    places = [
        "'stage'",
        "'kubernetes_version'",
        "'public_access_cidrs'",
        "network: 'cidr'",
        "network: 'zones'",
        "image: 'tag'",
        "system_nodes: 'count'",
        "pool 'gpu-24': 'capacity'",
        "model 'chat': 'prefix'",
        "model 'chat': 'max_num_seqs'",
    ]
    found = [problem.split(" must ")[0] for problem in problems_of(TEN_PROBLEMS)]
    assert found == places


def test_stage_is_valid(stage: str) -> None:
    """Every stage of the app keeps all rules, with and without a place to go to."""
    assert load(stage).stage == stage
    placed = load(stage, account="111122223333", region="us-east-1")
    assert (placed.account, placed.region) == ("111122223333", "us-east-1")


def test_dev_is_the_default_stage() -> None:
    """Without a name, the stage that may be deleted is loaded."""
    assert load() == load("dev")
    assert not load().retain


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        (
            {"stage": "nope"},
            [
                (
                    "error: 'stage' must be one of 'dev', 'prod', got 'nope'; "
                    "see infra/stages.py"
                )
            ],
        ),
        (
            {"account": "1111", "region": "nowhere"},
            [
                "error: 'account' must be an AWS account id (12 digits), got '1111'",
                (
                    "error: 'region' must be an AWS region, got 'nowhere'; "
                    "for example 'us-east-1'"
                ),
            ],
        ),
    ],
)
def test_app_refuses_bad_context(
    context: dict[str, str], lines: list[str], tmp_path: Path
) -> None:
    """The app ends with status 1 and one line for each problem, without a traceback."""
    result = run_app(ROOT, context, tmp_path / "out")
    assert result.returncode == REFUSED
    assert result.stderr.splitlines() == lines
    assert result.stdout == ""
    assert not list(tmp_path.glob("out/*.template.json"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the app whose stages a test may change."""
    copy = tmp_path / "project"
    copy.mkdir()
    shutil.copy(ROOT / "app.py", copy)
    for package in ("infra", "k8s"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


def test_app_names_every_problem_of_a_stage(project: Path, tmp_path: Path) -> None:
    """A stage in infra/stages.py with several problems prints them all and ends."""
    with (project / "infra/stages.py").open("a") as file:
        file.write(
            "STAGES['broken'] = Settings(\n"
            "    stage='broken',\n"
            "    kubernetes_version='1.28',\n"
            "    network=NetworkSettings(cidr='10.0.0.0/24', nat_gateways=0),\n"
            "    pools=(_GPU_24, _GPU_24),\n"
            ")\n"
        )
    result = run_app(project, {"stage": "broken"}, tmp_path / "out")
    lines = result.stderr.splitlines()
    assert result.returncode == REFUSED
    assert [line.split(" must ")[0] for line in lines] == [
        "error: 'kubernetes_version'",
        "error: network: 'cidr'",
        "error: network: 'nat_gateways'",
        "error: 'pools'",
        "error: pool 'gpu-24':",
        "error: pool 'gpu-24':",
    ]


def test_app_names_a_kubectl_that_is_not_installed(
    project: Path, tmp_path: Path
) -> None:
    """A version whose kubectl is missing is one line that names the package."""
    with (project / "infra/stages.py").open("a") as file:
        file.write(
            "from dataclasses import replace\n"
            "STAGES['dev'] = replace(STAGES['dev'], kubernetes_version='1.34')\n"
        )
    result = run_app(project, {}, tmp_path / "out")
    assert result.returncode == REFUSED
    assert result.stderr.splitlines() == [
        (
            "error: 'kubernetes_version' 1.34 needs a kubectl that is not installed; "
            "add aws-cdk.lambda-layer-kubectl-v34 to requirements.txt"
        )
    ]
