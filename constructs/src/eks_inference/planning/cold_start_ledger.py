"""How long a replica takes from the load that asks for it to its first request.

A ledger of nine phases, each with what bounds it and where its numbers come from.
``cXX`` in a source names a published measurement: docs/cold-start.md lists them.

Fitted, so that these rows show agreement and prove nothing: what a pull reaches at
most on c1, c2 and c3, its rate on a vCPU on c5, a stream from S3 on c27, a stream from
EBS on c28, a stream from NVMe on c31 and c32, start and capture on c31 and c32, the
compilation on c8, c24 and c31, its cache on c24 and c32, a plain download on c7.
"""

import math

from eks_inference._check import Problems
from eks_inference.planning.cold_start_values import (
    ColdStart,
    ColdStartOptions,
    CompileCacheState,
    Phase,
    Snapshotter,
    Storage,
    WeightSource,
)
from eks_inference.planning.instances import InstanceType

__all__ = ["cold_start"]

_BLUEPRINT = (
    "aws-samples/karpenter-blueprints@529b88cf blueprints/soci-snapshotter/README.md"
)
_RAY = "gemma4-12b on Ray Serve, README of 2026-07-27"
_STREAMER = "run-ai/runai-model-streamer@f73a19ac docs/src/benchmarks.md"
_TENSORFUSE = "tensorfuse.io/docs/blogs/reducing_gpu_cold_start"
_NEW_STACK = "The New Stack, EKS cold starts, 2026"

_MIB = 1024 * 1024 / 1e6

_GP3_MOST_MIB = 1000

_UNPACKED_RATIO = 2.1
"""Bytes of an unpacked image for a compressed byte. Assumed; Docker Hub's vLLM image
has 2.4 (12 GB, 28.6 GB)."""

_PULL_OVERHEAD = 3.0
"""Seconds of a pull that do not depend on its size. Assumed."""

_IMAGE_P90 = 1.7
"""The blueprint of c1 to c3 has pulled another image, of 10.8 GB, with Bottlerocket in
45 s: 1.5 times what this module says of it. Rounded up."""

_S3_STREAM = 120.0
"""MB/s of one of the streamer's requests to S3 (c27: 0.53 GB/s of 4, 1.78 of 16)."""

_S3_MOST = 3100.0
"""MB/s that the streamer reaches from S3 with any number of them (c27, 32 and 64)."""

_DOWNLOAD = 190.0
"""MB/s of a download of one file with boto3's defaults (c7)."""

_WEIGHTS_P90 = 2.0
"""A model of 203 GB took twice what its streams give (c23)."""

_NODE = (65.0, 95.0)
"""Pending pod to scheduled pod, drivers in the machine image (c15: 65 s; c6: 88 s with
the GPU operator; c18: 60 to 90 s). The p90 is assumed."""

_PROCESS_CACHED, _PROCESS_FROM_DISK = 34.0, 94.0
"""Python's start and imports with the files in memory (c32) and without (c31)."""

_FROM_DISK_P90 = 1.3
"""Assumed: it has been measured once."""

_CAPTURE_BASE, _CAPTURE_EACH = 0.6, 0.8
"""Seconds of profiling and for each CUDA graph: 67 took 54 s (c31, vLLM's default of
2025-09), 8 took 7 s (c32)."""

_CAPTURE_P90 = 2.0
"""60 to 120 s have been seen on H100, with an empty compile cache (c25)."""

_SEEN_AT_P90 = 0.9 - 0.5
"""What a time anywhere within a period is beyond its median in nine of ten cases."""


_UNPACK = {
    Snapshotter.CONTAINERD: (12.0, 71.5, f"c1, c5; {_BLUEPRINT}"),
    Snapshotter.SOCI_AL2023: (12.0, 236.0, f"c2, c5; {_BLUEPRINT}; {_RAY}"),
    Snapshotter.SOCI_BOTTLEROCKET: (20.0, 403.0, f"c3, c5; {_BLUEPRINT}; {_RAY}"),
}
"""Compressed MB/s that a vCPU unpacks, most MB/s of a whole pull, and the source.

12 MB/s: 11.7 GB in 123 s on 8 vCPUs (c5). 20 MB/s on Bottlerocket is assumed: its
decompressor igzip has been measured on large instances only, where it is 403/236 times
as fast. containerd unpacks layer after layer, on the same vCPUs."""

_NVME_WRITE = _GP3_MOST_MIB * _MIB
"""MB/s that local NVMe takes. Assumed as much as a gp3 volume at its old limit; at
least 200 MB/s follow from c5."""

_READ_STREAM = {Storage.EBS: 315.0, Storage.NVME: 660.0}
"""MB/s of one stream from a disk: c28, and the geometric mean of c31 and c32, whose
disk is not named."""

_COMPILE = {
    CompileCacheState.NONE: (50.0, 80.0, "torch.compile"),
    CompileCacheState.LOCAL_HIT: (5.0, 23.0, "reading the compile cache"),
    CompileCacheState.EFS_HIT: (13.0, 23.0, "reading the compile cache over EFS"),
}
"""Cold: 34 to 53 s (c24), 50 s (c8), 52 s (c31), up to 80 s in AWS's guide to fast
model loading. Hit: 4 to 6 s on local NVMe (c24), 23 s with Dynamo's part of it (c32).
On EFS not measured: assumed as the 13 s of c32 without Dynamo's 10."""


def cold_start(
    *,
    instance: InstanceType,
    weight_bytes: int,
    files: int | None = None,
    options: ColdStartOptions | None = None,
) -> ColdStart:
    """Return the ledger of a cold start.

    Args:
        instance: The node's type.
        weight_bytes: Bytes of the weights as they are stored.
        files: Files that the weights consist of: a plain download fetches them side
            by side. The streamer splits files, so that it does not matter there (c27
            is a single file). Default: one.
        options: What the platform decides. Default: what this library does.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    options = ColdStartOptions() if options is None else options
    with Problems() as problems:
        problems.integer("weight_bytes", weight_bytes, minimum=1, maximum=10**15)
        if files is not None:
            problems.integer("files", files, minimum=1, maximum=10**9)
        if problems.instance("instance", instance, InstanceType) & problems.instance(
            "options", options, ColdStartOptions
        ):
            _check_instance(problems, instance, options)
    megabytes = weight_bytes / 1e6
    phases = [_detect(options), _schedule(options)]
    if not options.warm_node:
        phases += [_node(), _image(instance, options)]
    phases += [
        _process(options),
        _weights(instance, options, megabytes, files or 1),
        _compile(options),
        _capture(options),
        _probe(options),
    ]
    return ColdStart(tuple(phases))


def _check_instance(
    problems: Problems, instance: InstanceType, options: ColdStartOptions
) -> None:
    for name in ("vcpus", "network_mbps", "network_burst_mbps", "ebs_mbps"):
        problems.number(name, getattr(instance, name), minimum=1, maximum=10**12)
    if options.storage is Storage.NVME and not instance.nvme_gb:
        problems.broken(
            f"'storage' must be Storage.EBS on {instance.name}, which has no local "
            "NVMe storage",
            options.storage.value,
        )


def _detect(options: ColdStartOptions) -> Phase:
    zero = not options.min_replicas
    decision = options.poll_seconds if zero else options.hpa_sync_seconds
    p50, p90 = _waits(options.scrape_seconds, decision)
    return Phase(
        name="detect",
        p50=p50,
        p90=p90,
        bound_by=f"{'KEDA polling' if zero else 'HPA sync'} every {decision:g} s",
        source="kubernetes config/v1alpha1/defaults.go; "
        "kedacore/keda@8b4f083c scale_scaledobjects.go",
        note="" if zero else "KEDA's polling interval has no part in it",
    )


def _schedule(options: ColdStartOptions) -> Phase:
    # 1 s for HPA, ReplicaSet and scheduler, assumed; then Karpenter waits for more pods
    batch = (0.0, 0.0) if options.warm_node else (1.0, 10.0)
    return Phase(
        name="schedule",
        p50=1 + batch[0],
        p90=2 + batch[1],
        bound_by="scheduler" if options.warm_node else "Karpenter's batch, 1 to 10 s",
        source="kubernetes-sigs/karpenter@22664681; c13: 3 to 12 s",
        note=(
            "a placeholder on the node is evicted first, within a second or so; not "
            "measured"
            if options.warm_node
            else ""
        ),
    )


def _node() -> Phase:
    return Phase(
        name="node",
        p50=_NODE[0],
        p90=_NODE[1],
        bound_by="EC2 launch, boot and device plugin",
        source="c15, c6, c18",
        note="EC2 may have no capacity: Karpenter tries that offer again after 3 min",
    )


def _image(instance: InstanceType, options: ColdStartOptions) -> Phase:
    if options.image_snapshot:
        return Phase(
            name="image",
            p50=0,
            p90=_PULL_OVERHEAD,
            bound_by="nothing: the data volume has the image",
            source="chrismld/kedify-on-eks-blueprint docs/VLLM-OPTIMIZATION.md",
            note="blocks that are read early come slowly: with the origin's snapshot "
            "Python took 32 s all the same, with another, without a rate, more than "
            "ten minutes (aws-samples/bottlerocket-images-cache#13)",
        )
    per_vcpu, most, source = _UNPACK[options.snapshotter]
    compressed = options.image_gb * 1e3
    written = compressed * _UNPACKED_RATIO
    if options.unpacked_gb is not None:
        written = options.unpacked_gb * 1e3
    if options.snapshotter is Snapshotter.CONTAINERD:
        written += compressed  # it keeps the layers as they were downloaded
    network, network_text = _network(instance, options)
    disk, disk_text = _disk(instance, options)
    unpack = min(per_vcpu * instance.vcpus, most)
    unpack_text = f"unpacking on {instance.vcpus} vCPUs"
    if unpack == most:
        unpack_text = f"unpacking, at most {most:g} MB/s with {options.snapshotter}"
    seconds, bound_by = max(
        (compressed / unpack, unpack_text),
        (compressed / network, network_text),
        (written / disk, disk_text),
    )
    return Phase(
        name="image",
        p50=seconds + _PULL_OVERHEAD,
        p90=(seconds + _PULL_OVERHEAD) * _IMAGE_P90,
        bound_by=bound_by,
        source=source,
    )


def _process(options: ColdStartOptions) -> Phase:
    p50, p90 = _PROCESS_CACHED, _PROCESS_FROM_DISK
    if not options.files_cached:
        p50, p90 = _PROCESS_FROM_DISK, _PROCESS_FROM_DISK * _FROM_DISK_P90
    where = "in memory" if options.files_cached else "on disk"
    return Phase(
        name="process",
        p50=p50,
        p90=p90,
        bound_by=f"imports of Python, files {where}",
        source=f"c31, c32; {_TENSORFUSE}",
    )


def _weights(
    instance: InstanceType, options: ColdStartOptions, megabytes: float, files: int
) -> Phase:
    network = _network(instance, options)
    disk = _disk(instance, options)
    streams = options.streamer_concurrency
    stream = _READ_STREAM[options.storage]
    if options.weights is WeightSource.S3:
        source = f"c27; {_STREAMER}"
        speed, bound_by = min(
            network,
            (_S3_STREAM * streams, f"streamer concurrency {streams}"),
            (_S3_MOST, f"streamer, at most {_S3_MOST / 1e3:g} GB/s"),
        )
        seconds = megabytes / speed
    elif options.weights is WeightSource.DISK:
        source = f"c28, c31, c32; {_STREAMER}"
        speed, bound_by = min(
            disk, (stream * streams, f"streamer concurrency {streams}")
        )
        seconds = megabytes / speed
    else:
        source = f"c7, c28, c31, c32; {_RAY}"
        plain = f"plain download of {files} file{'s' if files > 1 else ''}"
        speed, bound_by = min(network, disk, (_DOWNLOAD * files, plain))
        seconds = megabytes / speed + megabytes / min(disk[0], stream)
    return Phase(
        name="weights",
        p50=seconds,
        p90=seconds * _WEIGHTS_P90,
        bound_by=bound_by,
        source=source,
        note="transfer only: on a T4 vLLM's model load took 23 and 43 s more",
    )


def _compile(options: ColdStartOptions) -> Phase:
    p50, p90, bound_by = _COMPILE[options.compile_cache]
    return Phase(
        name="compile",
        p50=p50,
        p90=p90,
        bound_by=bound_by,
        source=f"c8, c24, c31, c32; {_NEW_STACK}; {_TENSORFUSE}",
    )


def _capture(options: ColdStartOptions) -> Phase:
    seconds = _CAPTURE_BASE + _CAPTURE_EACH * options.capture_sizes
    return Phase(
        name="capture",
        p50=seconds,
        p90=seconds * _CAPTURE_P90,
        bound_by=f"{options.capture_sizes} CUDA graphs",
        source=f"c31, c32, c25; {_TENSORFUSE}; {_NEW_STACK}",
    )


def _probe(options: ColdStartOptions) -> Phase:
    startup, readiness = options.startup_probe_seconds, options.readiness_probe_seconds
    p50, p90 = _waits(startup, readiness)
    return Phase(
        name="probe",
        p50=p50,
        p90=p90,
        bound_by=f"start-up probe every {startup:g} s, readiness every {readiness:g} s",
        source="arithmetic: half a period each",
        note="vLLM opens its port when the engine is ready",
    )


def _waits(*periods: float) -> tuple[float, float]:
    """Return median and p90 of waiting for events that come once in a period each."""
    p50 = math.fsum(periods) / 2
    return p50, p50 + _SEEN_AT_P90 * math.hypot(*periods)


def _network(instance: InstanceType, options: ColdStartOptions) -> tuple[float, str]:
    """Return the MB/s of a node's network, and its name."""
    mbps, kind = instance.network_mbps, "baseline"
    if options.network_burst and instance.network_burst_mbps > mbps:
        mbps, kind = instance.network_burst_mbps, "burst"
    return mbps / 8, f"network {kind} {mbps / 1e3:g} Gbit/s"


def _disk(instance: InstanceType, options: ColdStartOptions) -> tuple[float, str]:
    """Return the MB/s that a node's disk takes, and its name."""
    if options.storage is Storage.NVME:
        return _NVME_WRITE, "local NVMe"
    volume, node = options.ebs_throughput_mib * _MIB, instance.ebs_mbps / 8
    if node < volume:
        return node, f"EBS, {instance.name} at most {node:g} MB/s"
    return volume, f"EBS volume {options.ebs_throughput_mib:g} MiB/s"
