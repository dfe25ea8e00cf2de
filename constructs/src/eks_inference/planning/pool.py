"""A pool of GPU nodes as a value: what Karpenter may launch, and for how long."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.capacity import Capacity
from eks_inference.image_snapshot import ImageSnapshot

COLD_START_SECONDS = 300
"""What a cold start takes at least: those of a 7B model have been measured at three to
ten minutes. What ends in less time ends a start, or makes another one necessary."""

NODE_DRAIN_LIMIT_SECONDS = 600
"""How long a node may take to drain. Karpenter ends it then, whatever still runs, so
that no pod may have a longer grace period."""

UNPACKED_IMAGE_GIB = 200
"""Room for a vLLM image, compressed (12 GB) and unpacked (29 GB), and scratch space."""

_SYSTEM_ONLY_GIB = 20
"""Bottlerocket's data volume when images live on the instance store instead."""

_BOTTLEROCKET_ALIAS = r"bottlerocket@v\d+\.\d+\.\d+"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPool:
    """The nodes that a pool may have.

    Args:
        name: Name of the NodePool and the EC2NodeClass, and value of the node label
            that the pool's models select.
        accelerators: GPUs the pool may use, which must share one CPU architecture.
        gpus_per_node: GPUs of a node.
        capacity: How instances are bought.
        max_gpus: Most GPUs of the whole pool.
        consolidate_after_seconds: How long an empty node is kept.
        ami_alias: Bottlerocket release, pinned: ``@latest`` would replace every node
            on the day of each release.
        headroom_nodes: Spare nodes that are kept for the next replicas. They count
            against ``max_gpus``.
        image_snapshot: What their data volume is made from. Default: an empty volume.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    accelerators: tuple[Accelerator, ...]
    gpus_per_node: int
    capacity: Capacity
    max_gpus: int
    consolidate_after_seconds: int = 600
    ami_alias: str = "bottlerocket@v1.64.0"
    headroom_nodes: int = 0
    image_snapshot: ImageSnapshot | None = None

    def __post_init__(self) -> None:
        with Problems(f"pool {self.name!r}") as problems:
            problems.include(
                pool_problems(
                    name=self.name,
                    accelerators=self.accelerators,
                    gpus_per_node=self.gpus_per_node,
                    max_gpus=self.max_gpus,
                    consolidate_after_seconds=self.consolidate_after_seconds,
                    headroom_nodes=self.headroom_nodes,
                )
            )
            problems.matches(
                "ami_alias",
                self.ami_alias,
                _BOTTLEROCKET_ALIAS,
                rule="a pinned Bottlerocket release",
                repair="for example 'bottlerocket@v1.64.0'",
            )
            if self.image_snapshot is not None:
                problems.instance("image_snapshot", self.image_snapshot, ImageSnapshot)

    @property
    def architecture(self) -> str:
        """CPU architecture of the nodes."""
        return self.accelerators[0].architecture

    @property
    def has_local_nvme(self) -> bool:
        """Whether every node of the pool has local NVMe storage."""
        return all(item.has_local_nvme for item in self.accelerators)

    @property
    def keeps_images_on_nvme(self) -> bool:
        """Whether images lie on local NVMe, where they would hide a snapshot's."""
        return self.has_local_nvme and self.image_snapshot is None

    @property
    def data_volume_gib(self) -> int:
        """Size of a node's EBS data volume in GiB."""
        return _SYSTEM_ONLY_GIB if self.keeps_images_on_nvme else UNPACKED_IMAGE_GIB


def pool_problems(
    *,
    name: object,
    accelerators: Sequence[Accelerator],
    gpus_per_node: object,
    max_gpus: object,
    consolidate_after_seconds: object,
    headroom_nodes: object = 0,
) -> list[str]:
    """Return what is wrong with a pool's values; see ``GpuPool`` for the meaning."""
    problems = Problems()
    problems.dns_label("name", name)
    problems.not_empty(
        "accelerators", accelerators, repair="pass for example [Accelerator.L4]"
    )
    problems.unique(
        "accelerators",
        (item.name.lower() for item in accelerators),
        repair="remove one",
    )
    admitted = [
        item
        for item in Accelerator
        if item not in accelerators
        and item.gpu_name in {listed.gpu_name for listed in accelerators}
        and item.memory_mib in {listed.memory_mib for listed in accelerators}
    ]
    for item in admitted:
        problems.broken(
            "'accelerators' must not admit more than they list, and name and memory "
            f"together admit {item.name.lower()} too",
            [listed.name.lower() for listed in accelerators],
            "list it, or make a pool for each",
        )
    if len({item.architecture for item in accelerators}) > 1:
        kinds = ", ".join(f"{a.name.lower()} ({a.architecture})" for a in accelerators)
        problems.add(
            f"'accelerators' must share one CPU architecture, got {kinds}; "
            "make a pool for each"
        )
    if problems.integer("gpus_per_node", gpus_per_node, minimum=1):
        for item in accelerators:
            if gpus_per_node not in item.counts:
                counts = ", ".join(map(str, item.counts))
                problems.add(
                    f"'gpus_per_node' must be a count that instances with "
                    f"{item.name.lower()} have ({counts}), got {gpus_per_node}"
                )
    if problems.integer("max_gpus", max_gpus, minimum=1) and (
        isinstance(gpus_per_node, int) and int(str(max_gpus)) < gpus_per_node
    ):
        problems.add(
            f"'max_gpus' must be at least 'gpus_per_node' ({gpus_per_node}), got "
            f"{max_gpus}; raise it, or no node can ever start"
        )
    problems.integer("consolidate_after_seconds", consolidate_after_seconds, minimum=0)
    problems.include(_headroom_problems(headroom_nodes, gpus_per_node, max_gpus))
    return problems.messages


def _headroom_problems(nodes: object, gpus: object, most: object) -> list[str]:
    problems = Problems()
    if (
        problems.integer("headroom_nodes", nodes, minimum=0)
        and isinstance(gpus, int)
        and isinstance(most, int)
        and int(str(nodes)) * gpus > most >= gpus > 0
    ):
        problems.broken(
            f"'headroom_nodes' must fit 'max_gpus' ({most}) with {gpus} GPUs each",
            nodes,
            "lower it or raise 'max_gpus'",
        )
    return problems.messages


def gpus_needed(replicas: Iterable[tuple[int, int]], *, gpus_per_node: int) -> int:
    """Return the GPUs of the nodes that replicas fill, largest replicas first.

    Karpenter launches whole nodes, and a replica never spans two of them.

    Args:
        replicas: GPUs of a replica and number of such replicas, for each model.
        gpus_per_node: GPUs of a node; a replica that needs more, or none, is left out.
    """
    nodes: Counter[int] = Counter()  # by their free GPUs
    for gpus, count in sorted(replicas, reverse=True):
        if not 0 < gpus <= gpus_per_node:
            continue
        # the fullest node first, and new ones when none has room
        for room in [free for free in sorted(nodes) if free >= gpus]:
            count -= _fill(nodes, room, gpus=gpus, count=count)  # noqa: PLW2901
        nodes[gpus_per_node] = -(-count // (gpus_per_node // gpus))
        _fill(nodes, gpus_per_node, gpus=gpus, count=count)
    return sum(nodes.values()) * gpus_per_node


def _fill(nodes: Counter[int], room: int, *, gpus: int, count: int) -> int:
    """Place replicas on nodes with the same room, and return how many found some."""
    most = room // gpus
    full, last = divmod(min(count, nodes[room] * most), most)
    nodes[room] -= full + bool(last)
    nodes[room - most * gpus] += full
    nodes[room - last * gpus] += bool(last)
    return full * most + last
