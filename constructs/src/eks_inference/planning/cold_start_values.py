"""What a platform decides about how fast its replicas start, and the ledger."""

import math
from dataclasses import dataclass
from enum import StrEnum

from eks_inference._check import Problems

__all__ = [
    "PHASES",
    "ColdStart",
    "ColdStartOptions",
    "CompileCacheState",
    "Phase",
    "Snapshotter",
    "Storage",
    "WeightSource",
]


PHASES = (
    "detect",
    "schedule",
    "node",
    "image",
    "process",
    "weights",
    "compile",
    "capture",
    "probe",
)
"""The phases of a cold start, one after the other."""


class Snapshotter(StrEnum):
    """What pulls and unpacks the image, on which operating system."""

    CONTAINERD = "containerd"
    SOCI_AL2023 = "soci-al2023"
    SOCI_BOTTLEROCKET = "soci-bottlerocket"


class Storage(StrEnum):
    """Where images and downloads lie on a node."""

    NVME = "nvme"
    EBS = "ebs"


class WeightSource(StrEnum):
    """Where the weights come from, and who reads them."""

    S3 = "s3"
    """The Run:ai streamer reads a bucket."""
    DISK = "disk"
    """The streamer reads the node's disk. vLLM's own loader is as fast as one stream
    (c28: 47.99 s and 47.56 s)."""
    DOWNLOAD = "download"
    """The files are first copied to the disk, then vLLM's own loader reads them."""


class CompileCacheState(StrEnum):
    """What a replica finds of the kernels that it would otherwise compile."""

    NONE = "none"
    LOCAL_HIT = "local-hit"
    EFS_HIT = "efs-hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStartOptions:
    """What the platform decides about a cold start.

    Args:
        image_gb: Compressed image, in decimal GB. Default: 9.35, AWS's vLLM container
            of version 0.22 (c1).
        unpacked_gb: Unpacked image. Default: 2.1 times ``image_gb``.
        snapshotter: What pulls it. Default: SOCI's parallel pull on Bottlerocket.
        storage: Where it is unpacked. Default: local NVMe.
        ebs_throughput_mib: Throughput of the EBS volume in MiB/s; counts with
            ``Storage.EBS`` only. Default: 125, gp3 without surcharge.
        image_snapshot: Whether the data volume comes from an EBS snapshot that has the
            image. Needs ``Storage.EBS``: what lies on NVMe would hide it. Default:
            False.
        warm_node: Whether a node with the image is there, so that there is no node
            and no image phase: one that another replica has left, or a spare one of
            the pool (``headroom_nodes``). Default: False.
        files_cached: Whether the image's files are in the node's memory when Python
            imports them, as after a pull, which has just written them. Default: True.
        weights: Where the weights come from. Default: streamed from S3.
        streamer_concurrency: Requests or reads at once. Default: 16, as
            ``plan_serving`` has it; the streamer's own for S3 is 8.
        network_burst: Whether to count with the bandwidth that AWS calls "up to"
            rather than the one that an instance always has. Default: False.
        compile_cache: What the compile cache has. Default: a hit on EFS.
        capture_sizes: CUDA graphs to capture. Default: 51, vLLM's own list up to 512;
            it ends at twice ``max_num_seqs``, which gives 11 with 32.
        min_replicas: Fewest replicas. With 0 KEDA starts the first one and the HPA has
            no part in it. Default: 1.
        poll_seconds: KEDA's polling interval; counts with 0 replicas only. Default:
            15.
        scrape_seconds: Time between two scrapes of the metric. Default: 5.
        hpa_sync_seconds: Time between two decisions of the HPA. Default: 15, that of
            Kubernetes.
        startup_probe_seconds: Period of the start-up probe. Default: 5.
        readiness_probe_seconds: Period of the readiness probe. Default: 5.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    image_gb: float = 9.35
    unpacked_gb: float | None = None
    snapshotter: Snapshotter = Snapshotter.SOCI_BOTTLEROCKET
    storage: Storage = Storage.NVME
    ebs_throughput_mib: float = 125
    image_snapshot: bool = False
    warm_node: bool = False
    files_cached: bool = True
    weights: WeightSource = WeightSource.S3
    streamer_concurrency: int = 16
    network_burst: bool = False
    compile_cache: CompileCacheState = CompileCacheState.EFS_HIT
    capture_sizes: int = 51
    min_replicas: int = 1
    poll_seconds: float = 15
    scrape_seconds: float = 5
    hpa_sync_seconds: float = 15
    startup_probe_seconds: float = 5
    readiness_probe_seconds: float = 5

    def __post_init__(self) -> None:
        with Problems("cold start") as problems:
            sized = problems.number("image_gb", self.image_gb, minimum=0, maximum=1000)
            if self.unpacked_gb is not None:
                sized &= problems.number(
                    "unpacked_gb", self.unpacked_gb, minimum=0, maximum=10_000
                )
                if sized and self.unpacked_gb < self.image_gb:
                    problems.broken(
                        f"'unpacked_gb' must be at least 'image_gb' ({self.image_gb})",
                        self.unpacked_gb,
                        "swap them",
                    )
            for name, kind in _KINDS.items():
                problems.instance(name, getattr(self, name), kind)
            for name in _FLAGS:
                problems.flag(name, getattr(self, name))
            for name, (least, most) in _COUNTS.items():
                problems.integer(name, getattr(self, name), minimum=least, maximum=most)
            for name, (least, most) in _AMOUNTS.items():
                problems.number(name, getattr(self, name), minimum=least, maximum=most)
            if self.image_snapshot is True and self.storage is Storage.NVME:
                problems.broken(
                    "'storage' must be Storage.EBS with 'image_snapshot'",
                    self.storage.value,
                    "what lies on local NVMe hides the image of the data volume",
                )


_KINDS = {
    "snapshotter": Snapshotter,
    "storage": Storage,
    "weights": WeightSource,
    "compile_cache": CompileCacheState,
}
_FLAGS = ("image_snapshot", "warm_node", "files_cached", "network_burst")
_COUNTS = {
    "streamer_concurrency": (1, 10_000),
    "capture_sizes": (1, 10_000),
    "min_replicas": (0, 100_000),
}
_AMOUNTS = {
    "ebs_throughput_mib": (1, 100_000),
    "poll_seconds": (0, 3600),
    "scrape_seconds": (0, 3600),
    "hpa_sync_seconds": (0, 3600),
    "startup_probe_seconds": (0, 3600),
    "readiness_probe_seconds": (0, 3600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a cold start.

    Args:
        name: One of ``PHASES``.
        p50: Median, in seconds.
        p90: What nine of ten starts stay below, in seconds.
        bound_by: What would have to be faster.
        source: Where the numbers come from.
        note: What else there is to know. Default: nothing.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    p50: float
    p90: float
    bound_by: str
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        with Problems(f"phase {self.name!r}") as problems:
            problems.one_of("name", self.name, PHASES)
            problems.text("bound_by", self.bound_by)
            problems.text("source", self.source)
            if not isinstance(self.note, str):
                problems.broken("'note' must be a text", self.note)
            known = problems.number("p50", self.p50, minimum=0, maximum=10**12)
            known &= problems.number("p90", self.p90, minimum=0, maximum=10**12)
            if known and self.p90 < self.p50:
                problems.broken(
                    f"'p90' must be at least 'p50' ({self.p50})", self.p90, "swap them"
                )


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A ledger: what a cold start consists of.

    Args:
        phases: The phases that there are, in the order of ``PHASES``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        with Problems("cold start") as problems:
            if not isinstance(self.phases, tuple):
                problems.broken("'phases' must be a tuple", self.phases)
                return
            problems.not_empty("phases", self.phases, repair="give one at least")
            known = [problems.instance("phases", item, Phase) for item in self.phases]
            if all(known):
                names = [item.name for item in self.phases]
                ordered = [name for name in PHASES if name in names]
                if names != ordered:
                    problems.broken(
                        "'phases' must be in the order of PHASES, each once",
                        names,
                        f"sort them: {', '.join(ordered)}",
                    )

    @property
    def p50(self) -> float:
        """Sum of the medians, in seconds.

        The median of a sum of skewed times is a little more than that.
        """
        return math.fsum(item.p50 for item in self.phases)

    @property
    def p90(self) -> float:
        """What nine of ten starts stay below, in seconds.

        The phases are taken as independent: it is unlikely that all are slow at once,
        so that their distances between p50 and p90 add up as squares do, which is
        exact for normal distributions. The sum of all p90 would be too much.
        """
        spread = (item.p90 - item.p50 for item in self.phases)
        return self.p50 + math.hypot(*spread)

    def seconds(self, name: str) -> float:
        """Return the median of a phase in seconds, 0 where the phase is left out.

        Args:
            name: One of ``PHASES``.

        Raises:
            ConfigurationError: There is no phase of this name.
        """
        with Problems() as problems:
            problems.one_of("name", name, PHASES)
        return math.fsum(item.p50 for item in self.phases if item.name == name)
