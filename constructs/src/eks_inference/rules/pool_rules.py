"""Rules for a pool, as it will be applied."""

import re
from collections.abc import Iterator, Sequence

from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.planning.pool import COLD_START_SECONDS, gpus_needed
from eks_inference.rules import PoolFacts, Rule, Severity, rule
from eks_inference.rules.quantity import gib

POOL_RULES: list[Rule[PoolFacts]] = []
"""Every rule for a pool."""

_SNAPSHOTTER = re.compile(r'^\s*snapshotter\s*=\s*"(.*)"', re.MULTILINE)
"""Bottlerocket's ``settings.container-runtime.snapshotter``, in user data."""


@rule(
    POOL_RULES,
    "poolTooSmall",
    Severity.ERROR,
    "Karpenter stops at the limit, and the replicas beyond it stay pending.",
)
def _pool_too_small(pool: PoolFacts) -> Iterator[str]:
    """The pool's GPU limit covers what its models need together at most."""
    size = pool.pool.gpus_per_node
    needed = gpus_needed(pool.needs.values(), gpus_per_node=size)
    if needed > pool.pool.max_gpus:
        yield (
            f"'max_gpus' must be at least what the models need together "
            f"({needed // size} nodes x {size} GPUs), got {pool.pool.max_gpus}; raise "
            "it or lower a model's 'max_replicas'"
        )


@rule(
    POOL_RULES,
    "noRoomForRollout",
    Severity.WARNING,
    "A new version starts beside the old one. At full load it waits until a replica "
    "is no longer needed.",
)
def _rollout(pool: PoolFacts) -> Iterator[str]:
    """The pool has a GPU to spare for the replica of a new version."""
    size = pool.pool.gpus_per_node
    needed = gpus_needed(pool.needs.values(), gpus_per_node=size)
    largest = max((gpus for gpus, _ in pool.needs.values()), default=0)
    more = gpus_needed([*pool.needs.values(), (largest, 1)], gpus_per_node=size)
    if pool.needs and needed <= pool.pool.max_gpus < more:
        yield (
            f"'max_gpus' must leave room for one more replica ({more}), got "
            f"{pool.pool.max_gpus}; raise it"
        )


@rule(
    POOL_RULES,
    "headroomBeyondLimit",
    Severity.WARNING,
    "Near full load Karpenter stops at the limit, no node is spare, and a burst waits "
    "for new ones after all.",
)
def _headroom(pool: PoolFacts) -> Iterator[str]:
    """The pool's GPU limit has room for its spare nodes beside its models."""
    size = pool.pool.gpus_per_node
    needed = gpus_needed(pool.needs.values(), gpus_per_node=size)
    together = needed + pool.pool.headroom_nodes * size
    if pool.pool.headroom_nodes and needed <= pool.pool.max_gpus < together:
        yield (
            f"'max_gpus' must leave room for the spare nodes ({together}), got "
            f"{pool.pool.max_gpus}; raise it or lower 'headroom_nodes'"
        )


@rule(
    POOL_RULES,
    "poolWithoutModel",
    Severity.WARNING,
    "Nothing will ever run on it. Switch the rule off where the models are in another "
    "app.",
)
def _pool_without_model(pool: PoolFacts) -> Iterator[str]:
    """A pool has at least one model."""
    if not pool.needs:
        yield f"pool {pool.pool.name!r} must have a model, got none; remove it"


@rule(
    POOL_RULES,
    "consolidationShorterThanColdStart",
    Severity.ERROR,
    "An empty node that goes at once makes every dip of the load a cold start, and a "
    "node that has just become busy can be removed in the same moment.",
)
def _consolidation(pool: PoolFacts) -> Iterator[str]:
    """An empty node is kept at least as long as a cold start takes."""
    text = _disruption(pool).get("consolidateAfter", "0s")
    seconds = _seconds(text)
    if seconds is not None and seconds < COLD_START_SECONDS:
        yield (
            f"'consolidate_after_seconds' must be at least a cold start "
            f"({COLD_START_SECONDS}), got {text}; raise it"
        )


@rule(
    POOL_RULES,
    "consolidationOfBusyNodes",
    Severity.ERROR,
    "A replica fills its GPU: moving it saves nothing and costs a cold start.",
)
def _consolidation_policy(pool: PoolFacts) -> Iterator[str]:
    """Only empty nodes are consolidated."""
    policy = _disruption(pool).get("consolidationPolicy")
    if policy != "WhenEmpty":
        yield f"'consolidationPolicy' must be 'WhenEmpty', got {policy!r}; change it"


@rule(
    POOL_RULES,
    "missingTaint",
    Severity.ERROR,
    "Any pod of the cluster could fill a GPU node.",
)
def _taint(pool: PoolFacts) -> Iterator[str]:
    """GPU nodes have the GPU taint."""
    template = pool.manifests["NodePool"]["spec"]["template"]["spec"]
    if NVIDIA_GPU not in {taint["key"] for taint in template.get("taints", ())}:
        yield (
            f"nodes must have the taint {NVIDIA_GPU!r}, got "
            f"{template.get('taints', [])}; leave the rendered one in place"
        )


@rule(
    POOL_RULES,
    "unpinnedAmi",
    Severity.ERROR,
    "Each release of the operating system would replace every node on its first day.",
)
def _ami(pool: PoolFacts) -> Iterator[str]:
    """The machine image is pinned."""
    for term in pool.manifests["EC2NodeClass"]["spec"].get("amiSelectorTerms", ()):
        if str(term.get("alias", "")).endswith("@latest"):
            yield f"'ami_alias' must be pinned, got {term['alias']!r}; name a release"


@rule(
    POOL_RULES,
    "unencryptedVolume",
    Severity.ERROR,
    "Weights, prompts in logs and images would lie on the disk in the clear.",
)
def _encryption(pool: PoolFacts) -> Iterator[str]:
    """Every EBS volume of a node is encrypted."""
    for volume in _volumes(pool):
        if not volume.get("ebs", {}).get("encrypted"):
            yield (
                f"volume {volume['deviceName']!r} must be encrypted, got "
                f"{volume.get('ebs', {}).get('encrypted')}; set 'encrypted' to True"
            )


@rule(
    POOL_RULES,
    "volumeTooSmall",
    Severity.ERROR,
    "An image of vLLM needs about 40 GB, packed and unpacked: the node runs out of "
    "disk, or of patience.",
)
def _volume_size(pool: PoolFacts) -> Iterator[str]:
    """Where there is no local NVMe in use, the data volume holds the image."""
    if _images_on_nvme(pool):
        return
    smallest = 50
    for volume in _volumes(pool):
        size = gib(str(volume.get("ebs", {}).get("volumeSize", "20Gi")))
        is_data = volume["deviceName"] == "/dev/xvdb"
        if is_data and size is not None and size < smallest:
            yield (
                f"data volume must have at least {smallest} GiB, got {size:g}; "
                "raise it or use GPUs with local NVMe"
            )


@rule(
    POOL_RULES,
    "unusedSnapshot",
    Severity.ERROR,
    "The node would pull the image in spite of its snapshot, which costs its price and "
    "saves nothing.",
)
def _snapshot(pool: PoolFacts) -> Iterator[str]:
    """What a snapshot brings is where the node looks for images."""
    spec = pool.manifests["EC2NodeClass"]["spec"]
    if not any(volume.get("ebs", {}).get("snapshotID") for volume in _volumes(pool)):
        return
    if _images_on_nvme(pool):
        yield (
            "'instanceStorePolicy' must be left out with a snapshot, got 'RAID0', "
            "whose mounts hide the images of the data volume; remove it"
        )
    named = _SNAPSHOTTER.search(spec.get("userData", ""))
    if named and named[1] != "overlayfs":
        yield (
            "'snapshotter' must be the default with a snapshot ('overlayfs'), got "
            f"{named[1]!r}, which does not know the images of another; remove it"
        )


@rule(
    POOL_RULES,
    "nodeCredentials",
    Severity.ERROR,
    "Every pod of the node could use the node's role.",
)
def _metadata(pool: PoolFacts) -> Iterator[str]:
    """Pods cannot reach the node's credentials."""
    options = pool.manifests["EC2NodeClass"]["spec"].get("metadataOptions", {})
    hops, tokens = options.get("httpPutResponseHopLimit"), options.get("httpTokens")
    if hops != 1 or tokens != "required":
        yield (
            "metadata service must require tokens and allow one hop, got httpTokens "
            f"{tokens!r} and httpPutResponseHopLimit {hops!r}; leave the rendered "
            "options in place"
        )


def _disruption(pool: PoolFacts) -> Manifest:
    disruption: Manifest = pool.manifests["NodePool"]["spec"].get("disruption", {})
    return disruption


def _images_on_nvme(pool: PoolFacts) -> bool:
    policy = pool.manifests["EC2NodeClass"]["spec"].get("instanceStorePolicy")
    return policy == "RAID0" and pool.pool.has_local_nvme


def _volumes(pool: PoolFacts) -> Sequence[Manifest]:
    volumes: Sequence[Manifest] = pool.manifests["EC2NodeClass"]["spec"].get(
        "blockDeviceMappings", ()
    )
    return volumes


def _seconds(duration: str) -> int | None:
    """Return Karpenter's duration in seconds; None stands for never."""
    if duration == "Never":
        return None
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(
        int(number) * units[unit]
        for number, unit in re.findall(r"(\d+)([hms])", duration)
    )
