"""Published ledgers of cold starts, and what each option saves.

The guide's ledgers are claims: their figures are given as they stand there, ranges as
p50 and p90. Nobody has published a measurement of them.
"""

from dataclasses import dataclass, replace

from eks_inference._check import Problems
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_values import (
    ColdStart,
    ColdStartOptions,
    CompileCacheState,
    Phase,
    Snapshotter,
    Storage,
    WeightSource,
)
from eks_inference.planning.instances import InstanceType, instance

__all__ = [
    "GUIDE_INSTANCES",
    "GUIDE_OPTIMIZED",
    "GUIDE_OPTIONS",
    "GUIDE_STANDARD",
    "GUIDE_TIMELINE",
    "GUIDE_WEIGHT_BYTES",
    "ORIGIN_MEASURED",
    "Saving",
    "guide_computed",
    "savings",
]

_CLAIM = "claim of the guide, not measured"

_ORIGIN = "chrismld/kedify-on-eks-blueprint@d5c96e1 docs/VLLM-OPTIMIZATION.md"

_STREAMER_DEFAULT, _STREAMER_MOST = 8, 32
"""Requests to S3 by default, and from where more of them gain nothing (Run:ai model
streamer, docs/src/env-vars.md and docs/src/benchmarks.md)."""

_DEFAULT_CAPTURES, _FEW_CAPTURES = 51, 8


def _claim(name: str, low: float, high: float, words: str) -> Phase:
    return Phase(name=name, p50=low, p90=high, bound_by=words, source=_CLAIM)


GUIDE_STANDARD = ColdStart(
    (
        _claim("node", 45, 45, "Karpenter provisions node"),
        _claim("image", 180, 240, "container image pull"),
        _claim("process", 30, 30, "vLLM initialization"),
        _claim("weights", 120, 180, "model loading"),
    )
)
"""The guide's start without its optimizations: "6-8 minutes", 375 to 495 s as added."""

GUIDE_OPTIMIZED = ColdStart(
    (
        _claim("node", 45, 45, "Karpenter provisions node"),
        _claim("image", 30, 30, "container image with SOCI"),
        _claim("process", 30, 30, "vLLM initialization"),
        _claim("weights", 30, 30, "model streaming from S3"),
    )
)
"""The guide's optimized start. Its phases add up to 135 s, more than its "90-120
seconds"; detection, compilation, capture and probes are missing."""

GUIDE_TIMELINE = ColdStart(
    (
        _claim("detect", 2, 2, "KEDA polls metrics"),
        _claim("schedule", 3, 3, "pod, then Karpenter's request for an instance"),
        _claim("node", 45, 45, "node joins at 45 s, pod is scheduled at 50 s"),
        _claim("image", 30, 30, "container starts, with SOCI"),
        _claim("weights", 30, 30, "vLLM starts and streams the model"),
        _claim("probe", 10, 10, "pod ready at 110 s, serving at 120 s"),
    )
)
"""The guide's timeline from T+0 s to T+120 s. 30 s are both for the start of vLLM and
for the weights; nothing is left for compilation and capture."""


def _measured(name: str, seconds: float, words: str, note: str = "") -> Phase:
    return Phase(
        name=name, p50=seconds, p90=seconds, bound_by=words, source=_ORIGIN, note=note
    )


ORIGIN_MEASURED = ColdStart(
    (
        _measured("node", 52, "EC2, boot and NVIDIA start", "37 s and 15 s"),
        _measured("process", 32, "API server's start"),
        _measured("weights", 48, "model load", "5.3 s of it from S3"),
        _measured("compile", 60, "torch.compile, no cache"),
        _measured("capture", 3, "CUDA graphs"),
    )
)
"""What the guide's author has measured: Mistral 7B AWQ on a g4dn.2xlarge spot instance,
the image in an EBS snapshot, from the launch on. Given as about 3 min 10 s; the phases
add up to 195 s. Each was measured once, so that p90 is the same."""


GUIDE_WEIGHT_BYTES = 4_150_000_000
"""Bytes of the guide's model, Mistral 7B AWQ, which is one file."""

GUIDE_OPTIONS = ColdStartOptions(
    storage=Storage.EBS,
    ebs_throughput_mib=125,
    streamer_concurrency=_STREAMER_DEFAULT,
    startup_probe_seconds=10,
)
"""What the guide configures. It names no volume, no concurrency and no CUDA graphs, so
that those of Karpenter (gp3, 125 MiB/s), of the streamer and of vLLM hold."""

GUIDE_INSTANCES = ("g4dn.2xlarge", "g5.xlarge", "g6.2xlarge", "g6.8xlarge")
"""Instances of the families that the guide admits, the last with 32 vCPUs."""


def guide_computed(
    options: ColdStartOptions = GUIDE_OPTIONS,
) -> dict[str, ColdStart]:
    """Return what this module computes for the guide's model, by instance type.

    Args:
        options: What the platform decides. Default: what the guide configures.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    return {
        name: cold_start(
            instance=instance(name), weight_bytes=GUIDE_WEIGHT_BYTES, options=options
        )
        for name in GUIDE_INSTANCES
    }


@dataclass(frozen=True, slots=True)
class Saving:
    """What an option saves.

    Args:
        option: The option, and what it is compared with.
        p50: Seconds by which the median of the whole start is shorter.
        p90: Seconds by which nine of ten starts are shorter.
    """

    option: str
    p50: float
    p90: float


def savings(
    *,
    instance: InstanceType,
    weight_bytes: int,
    files: int | None = None,
    options: ColdStartOptions | None = None,
) -> tuple[Saving, ...]:
    """Return what each option saves, everything else being as given.

    Savings do not add up: with the image in a snapshot, SOCI saves nothing. An option
    for which an instance lacks the hardware is left out.

    Args:
        instance: The node's type.
        weight_bytes: Bytes of the weights as they are stored.
        files: Files that the weights consist of. Default: one.
        options: What the platform decides. Default: what this library does.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    options = ColdStartOptions() if options is None else options
    with Problems() as problems:
        problems.instance("options", options, ColdStartOptions)
    # checks the values as given, before options are changed that could hide a problem
    cold_start(
        instance=instance, weight_bytes=weight_bytes, files=files, options=options
    )
    found = []
    for option, off, on in _comparisons(options, nvme=bool(instance.nvme_gb)):
        without, with_it = (
            cold_start(
                instance=instance, weight_bytes=weight_bytes, files=files, options=item
            )
            for item in (off, on)
        )
        found.append(
            Saving(option, without.p50 - with_it.p50, without.p90 - with_it.p90)
        )
    return tuple(found)


Comparison = tuple[str, ColdStartOptions, ColdStartOptions]


def _comparisons(base: ColdStartOptions, *, nvme: bool) -> list[Comparison]:
    """Return the options to compare: name, without and with it."""
    soci = base.snapshotter
    if soci is Snapshotter.CONTAINERD:
        soci = Snapshotter.SOCI_BOTTLEROCKET
    cache = base.compile_cache
    if cache is CompileCacheState.NONE:
        cache = CompileCacheState.EFS_HIT
    streams = max(base.streamer_concurrency, _STREAMER_MOST)
    few = min(base.capture_sizes, _FEW_CAPTURES)
    pulled = replace(base, image_snapshot=False)
    ebs = replace(pulled, storage=Storage.EBS)
    comparisons: list[Comparison] = [
        (
            "SOCI parallel pull, not containerd",
            replace(base, snapshotter=Snapshotter.CONTAINERD),
            replace(base, snapshotter=soci),
        ),
        (
            "compile cache, not none",
            replace(base, compile_cache=CompileCacheState.NONE),
            replace(base, compile_cache=cache),
        ),
        (
            "warm node, not a new one",
            replace(base, warm_node=False),
            replace(base, warm_node=True),
        ),
        (
            "image in an EBS snapshot, not pulled",
            pulled,
            replace(ebs, image_snapshot=True),
        ),
        (
            "weights streamed from S3, not downloaded",
            replace(base, weights=WeightSource.DOWNLOAD),
            replace(base, weights=WeightSource.S3),
        ),
        (
            f"streamer concurrency {streams}, not {_STREAMER_DEFAULT}",
            replace(base, streamer_concurrency=_STREAMER_DEFAULT),
            replace(base, streamer_concurrency=streams),
        ),
        (
            f"{few} CUDA graphs, not {_DEFAULT_CAPTURES}",
            replace(base, capture_sizes=_DEFAULT_CAPTURES),
            replace(base, capture_sizes=few),
        ),
    ]
    if nvme:
        volume = f"local NVMe, not EBS at {base.ebs_throughput_mib:g} MiB/s"
        comparisons.insert(1, (volume, ebs, replace(pulled, storage=Storage.NVME)))
    return comparisons
