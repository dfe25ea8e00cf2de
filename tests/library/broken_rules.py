"""For every rule, apps that break it, and what they are told."""

from cdk8s import JsonPatch

from eks_inference import Accelerator, Drain, ImageSnapshot, QueueScaling
from eks_inference.planning import CHECKPOINTS
from tests.library.broken_rule import (
    BEHAVIOR,
    CONTAINER,
    DATA_VOLUME,
    GPU_LIMIT,
    NO_COLON,
    OF_ALL,
    ON_DEMAND,
    POD,
    UNSUMMED,
    Broken,
    patched,
    query,
)
from tests.library.broken_signal_rules import MORE_SIGNALS
from tests.library.cases import SNAPSHOT
from tests.library.conftest import WINDOW

BROKEN = [
    Broken(
        rule="zeroWithoutActivation",
        model={"scaling": QueueScaling(min_replicas=0)},
        says=[
            (
                "'min_replicas' must be at least 1 without an 'activation', got 0; set "
                "it to 1 or pass for example Activation.schedule(...)"
            )
        ],
    ),
    Broken(
        rule="zeroWithoutActivation",
        model=patched(
            "ScaledObject",
            JsonPatch.remove("/spec/minReplicaCount"),
            JsonPatch.add("/spec/cooldownPeriod", 900),
            JsonPatch.add("/spec/initialCooldownPeriod", 900),
        ),
        says=[
            (
                "'min_replicas' must be at least 1 without an 'activation', got 0; set "
                "it to 1 or pass for example Activation.schedule(...)"
            )
        ],
    ),
    Broken(
        rule="cooldownShorterThanColdStart",
        model={
            "scaling": QueueScaling(
                min_replicas=0, cooldown_seconds=60, activation=WINDOW
            )
        },
        says=[
            f"'{name}' must be at least what nine of ten cold starts take (422 s), "
            "got 60; raise 'cooldown_seconds', or leave it out"
            for name in ("cooldownPeriod", "initialCooldownPeriod")
        ],
    ),
    Broken(
        rule="cooldownShorterThanColdStart",
        model={
            "scaling": QueueScaling(min_replicas=0, activation=WINDOW),
            **patched("ScaledObject", JsonPatch.remove("/spec/initialCooldownPeriod")),
        },
        says=[
            (
                "'initialCooldownPeriod' must be at least what nine of ten cold starts "
                "take (422 s), got 0; raise 'cooldown_seconds', or leave it out"
            )
        ],
    ),
    Broken(
        rule="pollingIntervalWithoutZero",
        model=patched("ScaledObject", JsonPatch.add("/spec/pollingInterval", 1)),
        says=[
            (
                "'pollingInterval' must be left out with 'min_replicas' 1, got 1: it "
                "has no effect; remove it"
            )
        ],
    ),
    Broken(
        rule="cooldownWithoutZero",
        model=patched("ScaledObject", JsonPatch.add("/spec/cooldownPeriod", 60)),
        says=[
            (
                "'cooldownPeriod' must be left out with 'min_replicas' 1, got 60: it "
                "has no effect; set 'scale_down_window_seconds' instead"
            )
        ],
    ),
    Broken(
        rule="behaviorMisplaced",
        model=patched(
            "ScaledObject", JsonPatch.add("/spec/horizontalPodAutoscalerConfig", {})
        ),
        says=[
            (
                "'horizontalPodAutoscalerConfig' must stand below 'spec.advanced', got "
                "it at the top of the spec; move it"
            )
        ],
    ),
    Broken(
        rule="scaleUpTooSlow",
        model=patched(
            "ScaledObject",
            JsonPatch.replace(f"{BEHAVIOR}/scaleUp/stabilizationWindowSeconds", 60),
        ),
        says=[
            (
                "'scaleUp.stabilizationWindowSeconds' must be 0, got 60; a burst waits "
                "that long before anything happens"
            )
        ],
    ),
    Broken(
        rule="scaleUpTooSlow",
        model=patched("ScaledObject", JsonPatch.remove(f"{BEHAVIOR}/scaleUp")),
        says=[
            (
                "'scaleUp' must be stated, got no behaviour: Kubernetes' default is "
                "twice the replicas, or 4, every 15 s; leave the rendered behaviour "
                "in place"
            )
        ],
    ),
    Broken(
        rule="scaleDownTooFast",
        model={"scaling": QueueScaling(scale_down_window_seconds=60)},
        says=[
            (
                "'scale_down_window_seconds' must be at least a cold start (300), got "
                "60; raise it"
            )
        ],
    ),
    Broken(
        rule="noFallback",
        model=patched("ScaledObject", JsonPatch.remove("/spec/fallback")),
        says=["'fallback' must be given, got none; leave the rendered one in place"],
    ),
    Broken(
        rule="noFallback",
        model=patched("ScaledObject", JsonPatch.remove("/spec/fallback/behavior")),
        says=[
            (
                "'fallback.behavior' must keep the replicas that there are, got "
                "'static'; use 'currentReplicasIfHigher'"
            )
        ],
    ),
    Broken(
        rule="noFallback",
        model=patched(
            "ScaledObject",
            JsonPatch.remove("/spec/triggers/1/metadata/ignoreNullValues"),
        ),
        says=[
            (
                "'ignoreNullValues' of trigger 'waiting' must be 'false', got 'true': "
                "an empty answer would count as an empty queue"
            )
        ],
    ),
    Broken(
        rule="queryWithoutAggregation",
        model=query(UNSUMMED),
        says=[
            (
                "query of trigger 'running' must aggregate over the pods, got "
                f"{UNSUMMED!r}; wrap each metric in sum(...)"
            )
        ],
    ),
    Broken(
        rule="queryOfAllModels",
        model=query(OF_ALL),
        says=[
            (
                "query of trigger 'running' must name the model in each metric, got "
                f'{OF_ALL!r}; add job="inference/mistral"'
            )
        ],
    ),
    Broken(
        rule="metricWithoutColon",
        model=query(NO_COLON),
        says=[
            (
                "query of trigger 'running' must use the names that its source has, "
                "got 'vllm_num_requests_running'; write 'vllm:num_requests_running'"
            )
        ],
    ),
    *MORE_SIGNALS,
    Broken(
        rule="targetAboveCapacity",
        model=patched(
            "ScaledObject",
            JsonPatch.replace("/spec/advanced/scalingModifiers/target", "32"),
        ),
        says=[
            (
                "scaling target must be below '--max-num-seqs' (32), got 32; lower "
                "'target_share'"
            )
        ],
    ),
    Broken(
        rule="targetAboveCapacity",
        model=patched("Deployment", JsonPatch.remove(f"{CONTAINER}/args/5")),
        says=[
            (
                "'--max-num-seqs' must be given, got vLLM's default of 256 or more: "
                "the queue would stay empty until latency has long suffered; state it"
            )
        ],
    ),
    Broken(
        rule="shutdownInequality",
        model=patched(
            "Deployment", JsonPatch.replace(f"{POD}/terminationGracePeriodSeconds", 60)
        ),
        says=[
            (
                "'terminationGracePeriodSeconds' must be at least preStop + "
                "--shutdown-timeout + teardown (10 + 90 + 10 = 110), got 60; raise it "
                "or lower 'shutdown_timeout_seconds'"
            )
        ],
    ),
    Broken(
        rule="shutdownInequality",
        model=patched("Deployment", JsonPatch.remove(f"{CONTAINER}/lifecycle")),
        says=[
            (
                "'preStop' must wait until the pod has left the Service, got no wait: "
                "vLLM answers new requests with errors while it drains"
            )
        ],
    ),
    Broken(
        rule="shutdownInequality",
        model=patched("Deployment", JsonPatch.remove(f"{CONTAINER}/args/8")),
        says=[
            (
                "'--shutdown-timeout' must be given, got vLLM's default of 0, which "
                "cuts every stream; leave the rendered argument in place"
            )
        ],
    ),
    Broken(
        rule="shutdownInequality",
        model=patched(
            "Deployment",
            JsonPatch.replace(
                f"{CONTAINER}/lifecycle/preStop", {"sleep": {"seconds": 20}}
            ),
        ),
        says=[
            (
                "'terminationGracePeriodSeconds' must be at least preStop + "
                "--shutdown-timeout + teardown (20 + 90 + 10 = 120), got 110; raise it "
                "or lower 'shutdown_timeout_seconds'"
            )
        ],
    ),
    Broken(
        rule="spotGrace",
        model={"drain": Drain(shutdown_timeout_seconds=91)},
        says=[
            (
                "'terminationGracePeriodSeconds' must be at most 110 on spot, got 111; "
                "lower 'shutdown_timeout_seconds' or use Capacity.on_demand()"
            )
        ],
    ),
    Broken(
        rule="drainExceedsNode",
        pool=ON_DEMAND,
        model={"drain": Drain(shutdown_timeout_seconds=600)},
        says=[
            (
                "'terminationGracePeriodSeconds' must be at most what a node has to "
                "drain (600), got 620; lower 'shutdown_timeout_seconds'"
            )
        ],
    ),
    Broken(
        rule="startupBudgetTooShort",
        model=patched(
            "Deployment",
            JsonPatch.replace(f"{CONTAINER}/startupProbe/failureThreshold", 59),
        ),
        says=[
            (
                "start-up budget must be at least a cold start (422 s), got 295; raise "
                "'failureThreshold'"
            )
        ],
    ),
    Broken(
        rule="startupBudgetTooShort",
        model=patched("Deployment", JsonPatch.remove(f"{CONTAINER}/startupProbe")),
        says=[
            (
                "'startupProbe' must be given, got none: the liveness probe would end "
                "every start; leave the rendered one in place"
            )
        ],
    ),
    Broken(
        rule="startupBudgetTooShort",
        model=patched(
            "Deployment",
            JsonPatch.add(f"{CONTAINER}/startupProbe/initialDelaySeconds", 120),
        ),
        says=[
            (
                "'initialDelaySeconds' of the start-up probe must be left out, got "
                "120: it only delays the moment at which a replica is ready; raise "
                "'failureThreshold' instead"
            )
        ],
    ),
    *(
        Broken(
            rule="probePath",
            model=patched(
                "Deployment",
                JsonPatch.replace(f"{CONTAINER}/{probe}/httpGet/path", "/v1/models"),
            ),
            says=[f"'{probe}' must ask '/health', got '/v1/models'; change its path"],
        )
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    ),
    Broken(
        rule="missingToleration",
        model=patched(
            "Deployment",
            JsonPatch.replace(
                f"{POD}/tolerations", [{"key": "gpu", "operator": "Exists"}]
            ),
        ),
        says=[
            (
                "pod must tolerate 'nvidia.com/gpu', got tolerations for ['gpu']; "
                "leave the rendered one in place"
            )
        ],
    ),
    Broken(
        rule="missingToleration",
        model=patched("Deployment", JsonPatch.remove(GPU_LIMIT)),
        says=[
            (
                "container must have a limit for 'nvidia.com/gpu', got none: Karpenter "
                "would launch no GPU for it"
            )
        ],
    ),
    *(
        Broken(
            rule="unpinnedImage",
            model={"image": image},
            says=[
                f"'image' must have a pinned tag or a digest, got {image!r}; name one"
            ],
        )
        for image in ("vllm", "registry.example.com:5000/vllm", "team/vllm:latest")
    ),
    Broken(
        rule="serviceLinks",
        model=patched("Deployment", JsonPatch.remove(f"{POD}/enableServiceLinks")),
        says=[
            (
                "'enableServiceLinks' must be False, got True; leave the rendered "
                "value in place"
            )
        ],
    ),
    Broken(
        rule="serviceLinks",
        model=patched("Service", JsonPatch.replace("/metadata/name", "vllm")),
        says=[
            (
                "name of the Service must not start with 'vllm', got 'vllm'; choose "
                "another 'name'"
            )
        ],
    ),
    Broken(
        rule="blockingDisruptionBudget",
        model=patched("PodDisruptionBudget", JsonPatch.add("/spec/minAvailable", 1)),
        says=[
            (
                "disruption budget must have 'maxUnavailable' of at least 1, got 1; "
                "use maxUnavailable 1"
            )
        ],
    ),
    Broken(
        rule="blockingDisruptionBudget",
        model=patched(
            "PodDisruptionBudget", JsonPatch.replace("/spec/maxUnavailable", "0%")
        ),
        says=[
            (
                "disruption budget must have 'maxUnavailable' of at least 1, got '0%'; "
                "use maxUnavailable 1"
            )
        ],
    ),
    Broken(
        rule="gpusExceedNode",
        limits={"gpus": 2},
        says=[
            (
                "'gpus' must be at most the GPUs of a node (1), got 2; raise the "
                "pool's 'gpus_per_node'"
            )
        ],
    ),
    Broken(
        rule="poolTooSmall",
        pool={"max_gpus": 9},
        says=[
            (
                "'max_gpus' must be at least what the models need together (10 nodes x "
                "1 GPUs), got 9; raise it or lower a model's 'max_replicas'"
            )
        ],
    ),
    Broken(
        rule="poolTooSmall",
        pool={"max_gpus": 12, "gpus_per_node": 4},
        limits={"gpus": 3},
        model={"scaling": QueueScaling(max_replicas=4)},
        says=[
            (
                "'max_gpus' must be at least what the models need together (4 nodes x "
                "4 GPUs), got 12; raise it or lower a model's 'max_replicas'"
            )
        ],
    ),
    Broken(
        rule="noRoomForRollout",
        pool={"max_gpus": 10},
        says=["'max_gpus' must leave room for one more replica (11), got 10; raise it"],
    ),
    Broken(
        rule="headroomBeyondLimit",
        pool={"headroom_nodes": 2},
        says=[
            (
                "'max_gpus' must leave room for the spare nodes (12), got 11; raise it "
                "or lower 'headroom_nodes'"
            )
        ],
    ),
    Broken(
        rule="poolWithoutModel",
        model=None,
        says=["pool 'gpu' must have a model, got none; remove it"],
    ),
    Broken(
        rule="consolidationShorterThanColdStart",
        pool={"consolidate_after_seconds": 299},
        says=[
            (
                "'consolidate_after_seconds' must be at least a cold start (300), got "
                "299s; raise it"
            )
        ],
    ),
    Broken(
        rule="consolidationShorterThanColdStart",
        pool=patched(
            "NodePool", JsonPatch.replace("/spec/disruption/consolidateAfter", "4m30s")
        ),
        says=[
            (
                "'consolidate_after_seconds' must be at least a cold start (300), got "
                "4m30s; raise it"
            )
        ],
    ),
    Broken(
        rule="consolidationOfBusyNodes",
        pool=patched(
            "NodePool",
            JsonPatch.replace(
                "/spec/disruption/consolidationPolicy", "WhenEmptyOrUnderutilized"
            ),
        ),
        says=[
            (
                "'consolidationPolicy' must be 'WhenEmpty', got "
                "'WhenEmptyOrUnderutilized'; change it"
            )
        ],
    ),
    Broken(
        rule="missingTaint",
        pool=patched("NodePool", JsonPatch.remove(f"{POD}/taints")),
        says=[
            (
                "nodes must have the taint 'nvidia.com/gpu', got []; leave the "
                "rendered one in place"
            )
        ],
    ),
    Broken(
        rule="unpinnedAmi",
        pool=patched(
            "EC2NodeClass",
            JsonPatch.replace(
                "/spec/amiSelectorTerms", [{"alias": "bottlerocket@latest"}]
            ),
        ),
        says=["'ami_alias' must be pinned, got 'bottlerocket@latest'; name a release"],
    ),
    Broken(
        rule="unencryptedVolume",
        pool=patched(
            "EC2NodeClass", JsonPatch.replace(f"{DATA_VOLUME}/encrypted", False)
        ),
        says=[
            "volume '/dev/xvdb' must be encrypted, got False; set 'encrypted' to True"
        ],
    ),
    Broken(
        rule="volumeTooSmall",
        pool={
            "accelerators": [Accelerator.T4G],
            **patched(
                "EC2NodeClass", JsonPatch.replace(f"{DATA_VOLUME}/volumeSize", "49Gi")
            ),
        },
        says=[
            (
                "data volume must have at least 50 GiB, got 49; raise it or use GPUs "
                "with local NVMe"
            )
        ],
    ),
    Broken(
        rule="volumeTooSmall",
        pool=patched("EC2NodeClass", JsonPatch.remove("/spec/instanceStorePolicy")),
        says=[
            (
                "data volume must have at least 50 GiB, got 20; raise it or use GPUs "
                "with local NVMe"
            )
        ],
    ),
    Broken(
        rule="unusedSnapshot",
        pool={
            "image_snapshot": ImageSnapshot(snapshot_id=SNAPSHOT),
            **patched(
                "EC2NodeClass", JsonPatch.add("/spec/instanceStorePolicy", "RAID0")
            ),
        },
        says=[
            (
                "'instanceStorePolicy' must be left out with a snapshot, got 'RAID0', "
                "whose mounts hide the images of the data volume; remove it"
            )
        ],
    ),
    Broken(
        rule="unusedSnapshot",
        pool={
            "image_snapshot": ImageSnapshot(snapshot_id=SNAPSHOT),
            **patched(
                "EC2NodeClass",
                JsonPatch.add(
                    "/spec/userData",
                    '[settings.container-runtime]\n  snapshotter = "soci"\n',
                ),
            ),
        },
        says=[
            (
                "'snapshotter' must be the default with a snapshot ('overlayfs'), got "
                "'soci', which does not know the images of another; remove it"
            )
        ],
    ),
    Broken(
        rule="nodeCredentials",
        pool=patched(
            "EC2NodeClass",
            JsonPatch.replace("/spec/metadataOptions/httpPutResponseHopLimit", 2),
        ),
        says=[
            (
                "metadata service must require tokens and allow one hop, got "
                "httpTokens 'required' and httpPutResponseHopLimit 2; leave the "
                "rendered options in place"
            )
        ],
    ),
    Broken(
        rule="modelDoesNotFit",
        limits={
            "checkpoint": CHECKPOINTS["llama-3.1-8b"],
            "weights_gb": None,
            "max_model_len": 131_072,
        },
        pool={"accelerators": [Accelerator.L4]},
        says=[
            (
                "'llama-3.1-8b' must fit 1 of g6.xlarge (l4), got: a sequence of "
                "131072 tokens needs 16.0 GiB of KV cache, and weights 15.0 GiB + "
                "overhead 1.7 GiB leave 3.2 GiB of the 19.8 GiB usable of one l4 (0.9 "
                "of 22.0 GiB), 26128 tokens; a context of 25600 tokens instead of "
                "131072 or 1 GPU of g6e.xlarge (l40s)"
            )
        ],
    ),
    Broken(
        rule="modelDoesNotFit",
        limits={
            "checkpoint": CHECKPOINTS["llama-3.1-8b"],
            "weights_gb": None,
            "max_model_len": 8_192,
        },
        pool={"accelerators": [Accelerator.L4]},
        model=patched(
            "Deployment",
            JsonPatch.add(f"{CONTAINER}/args/-", "--kv-cache-dtype=auto"),
            JsonPatch.replace(f"{CONTAINER}/args/7", "--tensor-parallel-size=3"),
        ),
        says=[
            (
                "fit: 'tensor_parallel' must divide the 32 attention heads, got 3; use "
                "1, 2, 4 or 8 where they do"
            )
        ],
    ),
    Broken(
        rule="podExceedsNode",
        limits={"memory_gib": 800, "cpu": 100},
        says=[
            (
                "a replica must fit a node of the pool, of which gr6.8xlarge is the "
                "largest (31.85 CPUs and 233.9 GiB less 0.4 and 1 for daemons), got "
                "100 CPUs and 800 GiB; lower 'cpu' or 'memory_gib'"
            )
        ],
    ),
]
"""Each breaks its own rule and no other one."""
