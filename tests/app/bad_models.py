"""Settings of pools and models that are refused, and values of the wrong kind."""

from dataclasses import replace
from typing import Any

from infra.settings import Settings
from tests.app.good_settings import (
    ADMIN,
    AWAKE,
    CRON_REPAIR,
    CRON_RULE,
    GPUS,
    LABEL,
    LIST_REPAIR,
    LIST_RULE,
    MODEL,
    OFFICE,
    POOL,
    PREFIX_REPAIR,
    PREFIX_RULE,
    WINDOW,
    model,
    network,
    pool,
    stage,
    switched,
    two_models,
    whole_nodes,
    window,
)

NOT_TEXTS: tuple[dict[str, Any], ...] = ({"name": 7}, {"name": None})
NOTHINGS: tuple[Any, ...] = ("", 0, (), {})

BAD_MODELS: dict[str, tuple[Settings, str]] = {
    # a pool
    "pool not a label": (
        pool(name="GPU"),
        (
            f"pool 'GPU': 'name' must be a DNS label of at most 63 characters {LABEL}, "
            "got 'GPU'"
        ),
    ),
    "pool called like the one for everything else": (
        pool(name="system"),
        (
            "'name' of a pool must not be that of the pool for everything else, "
            "got 'system'; rename it"
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
    "volume for a snapshot": (
        pool(image_snapshot="vol-0123456789abcdef0"),
        (
            "pool 'gpu-24': 'image_snapshot' must be the id of an EBS snapshot, got "
            "'vol-0123456789abcdef0'; 'make image-snapshot' prints one"
        ),
    ),
    "snapshot missing": (
        pool(image_snapshot=None),
        (
            "pool 'gpu-24': 'image_snapshot' must be the id of an EBS snapshot, got "
            "None; 'make image-snapshot' prints one"
        ),
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
    "prefix with a policy variable": (
        model(prefix="models/${aws:username}/"),
        (
            f"model 'chat': {PREFIX_RULE}, got 'models/${{aws:username}}/'; "
            f"{PREFIX_REPAIR}"
        ),
    ),
    "prefix out of its folder": (
        model(prefix="models/../"),
        f"model 'chat': {PREFIX_RULE}, got 'models/../'; {PREFIX_REPAIR}",
    ),
    "prefix of two slashes": (
        model(prefix="models//chat/"),
        f"model 'chat': {PREFIX_RULE}, got 'models//chat/'; {PREFIX_REPAIR}",
    ),
    "prefix with a blank": (
        model(prefix="models/my chat/"),
        f"model 'chat': {PREFIX_RULE}, got 'models/my chat/'; {PREFIX_REPAIR}",
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
        "model 'chat': 'max_model_len' must be 256 to 10000000, got 8",
    ),
    "context too long": (
        model(max_model_len=10**8),
        "model 'chat': 'max_model_len' must be 256 to 10000000, got 100000000",
    ),
    "weights without end": (
        model(weights_gb=float("inf")),
        "model 'chat': 'weights_gb' must be 0.01 to 2000, got inf",
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
        "model 'chat': 'cpu' must be 1 to 192, got 0",
    ),
    "more CPUs than there are": (
        model(cpu=10_000),
        "model 'chat': 'cpu' must be 1 to 192, got 10000",
    ),
    "more memory than a machine has": (
        model(memory_gib=12_288),
        "model 'chat': 'memory_gib' must be 4 to 3072, got 12288",
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
            "model 'chat': 'min_replicas' must be at least 1 without a 'schedule', "
            "'on_request', 'jobs_queue_arn' or 'gateway_query', got 0; the metrics "
            "come from the pods, so nothing would ever start the first one"
        ),
    ),
    "woken in a way that is not known": (
        model(min_replicas=0, on_request="wait"),
        "model 'chat': 'on_request' must be one of 'hold', 'retry', got 'wait'",
    ),
    "queue that is no ARN": (
        model(min_replicas=0, jobs_queue_arn="jobs"),
        (
            "model 'chat': 'jobs_queue_arn' must be the ARN of an SQS queue, got "
            "'jobs'; arn:aws:sqs:<region>:<account>:<name>"
        ),
    ),
    "gateway that is the model": (
        model(gateway_query="sum(vllm:num_requests_running)"),
        (
            "model 'chat': 'gateway_query' must read a metric that exists without "
            "replicas, got 'sum(vllm:num_requests_running)'; vLLM's own are gone with "
            "its pods; ask the gateway"
        ),
    ),
    "weights of a branch": (
        model(hugging_face="owner/name@main"),
        (
            "model 'chat': 'hugging_face' must be a repository of the Hub at a commit, "
            "as owner/name@<40 hex digits>, got 'owner/name@main'; a branch moves, and "
            "replicas would serve different weights"
        ),
    ),
    "token in a secret of no name": (
        model(hugging_face_secret="Hub"),
        (
            "model 'chat': 'hugging_face_secret' must be the name of a Secret, got "
            "'Hub'; for example 'mistral-7b-clients'"
        ),
    ),
    "key in a secret of no name": (
        model(api_key_secret="Clients"),
        (
            "model 'chat': 'api_key_secret' must be the name of a Secret, got "
            "'Clients'; for example 'mistral-7b-clients'"
        ),
    ),
    "display name with a quote": (
        model(served_name='a"b'),
        (
            "model 'chat': 'served_name' must be a name of letters, digits and "
            """'._/:-', at most 200 long, got 'a"b'; for example """
            "'mistral-7b-instruct'"
        ),
    ),
    "weight of zero": (
        model(waiting_weight=0),
        "model 'chat': 'waiting_weight' must be 1 to 1000, got 0",
    ),
    "weight without bound": (
        model(waiting_weight=10**6),
        "model 'chat': 'waiting_weight' must be 1 to 1000, got 1000000",
    ),
    "no room below full": (
        model(target_share=1.0),
        "model 'chat': 'target_share' must be 0.05 to 0.95, got 1.0",
    ),
    "cron of words": (
        window(start="8 o'clock"),
        f"model 'chat': 'start' {CRON_RULE}, got \"8 o'clock\"; {CRON_REPAIR}",
    ),
    "cron with seconds": (
        window(end="0 0 18 * * 1-5"),
        f"model 'chat': 'end' {CRON_RULE}, got '0 0 18 * * 1-5'; {CRON_REPAIR}",
    ),
    **{
        f"cron of {fault}": (
            window(start=cron),
            f"model 'chat': 'start' {CRON_RULE}, got {cron!r}; {CRON_REPAIR}",
        )
        for fault, cron in (
            ("five words", "a b c d e"),
            ("no such minute", "60 8 * * *"),
            ("no such hour", "0 24 * * *"),
            ("no such month", "0 8 1 13 *"),
            ("no such day", "0 8 * * FUNDAY"),
            ("a step of zero", "*/0 8 * * *"),
            ("a range backwards", "0 18-8 * * *"),
            ("punctuation", ", - / * *"),
        )
    },
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
    "window above most": (
        window(replicas=11),
        (
            "model 'chat': 'schedule.replicas' must be at most 10, got 11; "
            "lower it or raise 'max_replicas'"
        ),
    ),
    # values of another kind, of which nothing else can be asked
    **{
        f"{name} missing": (
            stage(**{name: None}),
            f"'{name}' must be of class {kind}, got None",
        )
        for name, kind in (
            ("network", "NetworkSettings"),
            ("image", "ImageSettings"),
            ("system_nodes", "SystemNodes"),
        )
    },
    **{
        f"{name} missing": (
            stage(**{name: None}),
            f"'{name}' {LIST_RULE}, got None; {LIST_REPAIR}",
        )
        for name in ("admin_role_arns", "public_access_cidrs", "pools", "models")
    },
    "one admin without brackets": (
        stage(admin_role_arns=ADMIN.strip("'")),
        f"'admin_role_arns' {LIST_RULE}, got {ADMIN}; {LIST_REPAIR}",
    ),
    "one CIDR without brackets": (
        stage(public_access_cidrs=OFFICE),
        f"'public_access_cidrs' {LIST_RULE}, got {OFFICE!r}; {LIST_REPAIR}",
    ),
    "one zone without brackets": (
        network(availability_zones="us-east-1a"),
        f"'availability_zones' {LIST_RULE}, got 'us-east-1a'; {LIST_REPAIR}",
    ),
    "one endpoint without brackets": (
        network(interface_endpoints="sts"),
        f"'interface_endpoints' {LIST_RULE}, got 'sts'; {LIST_REPAIR}",
    ),
    "one GPU without brackets": (
        pool(accelerators="l4"),
        f"'accelerators' {LIST_RULE}, got 'l4'; {LIST_REPAIR}",
    ),
    "a pool of text": (
        stage(pools=("gpu-24",)),
        "'pools' must be of class PoolSettings, got 'gpu-24'",
    ),
    "a model of text": (
        stage(models=("chat",)),
        "'models' must be of class ModelSettings, got 'chat'",
    ),
    "a schedule of text": (
        model(schedule="0 8 * * 1-5"),
        "'schedule' must be of class Schedule, got '0 8 * * 1-5'",
    ),
    **{
        f"a schedule {nothing!r}": (
            model(schedule=nothing),
            f"'schedule' must be of class Schedule, got {nothing!r}",
        )
        for nothing in NOTHINGS
    },
    **{
        f"a pool named {named['name']!r}": (
            stage(pools=(replace(POOL, **named),)),
            f"'name' must be of class str, got {named['name']!r}",
        )
        for named in NOT_TEXTS
    },
    "a model that names a list": (
        model(pool=["gpu-24"]),
        "'pool' must be of class str, got ['gpu-24']",
    ),
    "a model named by a dictionary": (
        model(name={}),
        "'name' must be of class str, got {}",
    ),
    "GPUs of a node missing": (
        pool(gpus_per_node=None),
        "pool 'gpu-24': 'gpus_per_node' must be a whole number, got None",
    ),
    "guardrails of text": (
        stage(guardrails=("eks_inference:spotGrace",)),
        "'guardrails' must be of class GuardrailSwitch, got 'eks_inference:spotGrace'",
    ),
    "guardrails missing": (
        stage(guardrails=None),
        f"'guardrails' {LIST_RULE}, got None; {LIST_REPAIR}",
    ),
    "guardrail without a reason": (
        switched(reason=""),
        (
            "guardrail 'eks_inference:spotGrace': "
            "'reason' must be a text that is not empty, got ''"
        ),
    ),
    "guardrail with an unknown severity": (
        switched(severity="ignore"),
        (
            "guardrail 'eks_inference:spotGrace': 'severity' must be one of "
            "'error', 'warning', 'off', got 'ignore'"
        ),
    ),
    "checkpoint unknown": (
        model(checkpoint="mistral-7b-gptq"),
        (
            "model 'chat': 'checkpoint' must name a model of the catalogue, "
            "got 'mistral-7b-gptq'; did you mean 'mistral-7b-fp8' or 'mistral-7b-awq' "
            "or 'mistral-7b'? any other model needs 'read_checkpoint'"
        ),
    ),
    "checkpoint of other weights": (
        model(checkpoint="llama-3.1-8b"),
        (
            "model 'chat': 'weights_gb' must be that of the 'checkpoint' "
            "'llama-3.1-8b' (16.06), got 4.15; leave it out"
        ),
    ),
    "longer than the checkpoint": (
        model(checkpoint="mistral-7b-awq", max_model_len=40_000),
        (
            "model 'chat': 'max_model_len' must be 256 to 32768, got 40000; "
            "'mistral-7b-awq' was made for 32768 tokens"
        ),
    ),
    "neither checkpoint nor size": (
        model(weights_gb=None),
        (
            "model 'chat': 'weights_gb' must be a number, got None; "
            "a 'checkpoint' would say it"
        ),
    ),
    # how they fit together
    "no pools": (
        stage(pools=(), models=()),
        "'pools' must not be empty; add one to infra/stages.py",
    ),
    "pool without model": (
        stage(pools=(POOL, replace(POOL, name="idle"))),
        (
            "pool 'idle': 'models' must have one that names the pool, got none; "
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
            "replicas need (11 nodes x 1 GPUs), got 10; "
            "raise it or lower 'max_replicas'"
        ),
    ),
    "pool too small for all models": (
        two_models(name="code", max_replicas=6),
        (
            "pool 'gpu-24': 'max_gpus' must be at least what its models need together "
            "(11 nodes x 1 GPUs), got 10; raise it or lower a model's 'max_replicas'"
        ),
    ),
    "whole nodes for one model": (
        whole_nodes(replace(MODEL, gpus=3, max_replicas=4)),
        (
            "model 'chat': 'max_gpus' of the pool must be at least what 'max_replicas' "
            "replicas need (4 nodes x 4 GPUs), got 12; "
            "raise it or lower 'max_replicas'"
        ),
    ),
    "whole nodes for all models": (
        whole_nodes(
            replace(MODEL, gpus=3, max_replicas=2),
            replace(MODEL, name="code", gpus=2, max_replicas=3),
        ),
        (
            "pool 'gpu-24': 'max_gpus' must be at least what its models need together "
            "(4 nodes x 4 GPUs), got 12; raise it or lower a model's 'max_replicas'"
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
            pools=(replace(POOL, max_gpus=51),),
            models=tuple(
                replace(MODEL, name=f"m{index}", max_replicas=1) for index in range(51)
            ),
        ),
        "'models' must be at most 50, got 51; make a second stage for the others",
    ),
}
"""Settings and the message that their author reads, by what is wrong."""
