"""Computed cold starts beside published measurements, and what they are made of.

    EKS_INFERENCE_DATA=FOLDER python benchmarks/cold_start.py

The folder holds coldstart_points.csv, one published measurement a row. Without the
variable, the comparison is left out and the rest is printed.
"""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_presets import (
    GUIDE_INSTANCES,
    GUIDE_OPTIMIZED,
    GUIDE_OPTIONS,
    GUIDE_STANDARD,
    GUIDE_TIMELINE,
    GUIDE_WEIGHT_BYTES,
    ORIGIN_MEASURED,
    guide_computed,
    savings,
)
from eks_inference.planning.cold_start_values import (
    PHASES,
    ColdStart,
    ColdStartOptions,
    CompileCacheState,
    Snapshotter,
    Storage,
    WeightSource,
)
from eks_inference.planning.instances import instance

SERVER = ("process", "weights", "compile", "capture")
STANDARD_OPTIONS = replace(
    GUIDE_OPTIONS,
    snapshotter=Snapshotter.CONTAINERD,
    weights=WeightSource.DOWNLOAD,
    compile_cache=CompileCacheState.NONE,
)
ORIGIN_OPTIONS = replace(
    GUIDE_OPTIONS,
    image_snapshot=True,
    ebs_throughput_mib=1000,
    compile_cache=CompileCacheState.NONE,
    capture_sizes=5,
)
"""What the guide's author has measured: 'max_num_seqs' of 8 gives five CUDA graphs."""
NEW_NODE = ("schedule", "node", "image", *SERVER, "probe")


@dataclass(frozen=True)
class Case:
    """A row of the data and what is computed for it."""

    row: str
    what: str
    computed: float
    which: int = 0
    """Which number of the row's value is meant."""
    until: int | None = None
    """The number that ends the range, where the row gives a range."""
    less: float = 0
    """What the row's own note says to take off."""
    fitted: bool = False
    why: str = ""
    """What sets the row apart."""


def seconds(
    phases: tuple[str, ...], name: str, gigabytes: float, **options: object
) -> float:
    """Return the median of some phases, for an instance type and a model."""
    ledger = cold_start(
        instance=instance(name),
        weight_bytes=round(gigabytes * 1e9),
        options=ColdStartOptions(**options),  # type: ignore[arg-type]
    )
    return sum(ledger.seconds(phase) for phase in phases)


def pull(name: str, image: float, snapshotter: Snapshotter, mib: float) -> float:
    """Return the median of a pull to an EBS volume."""
    return seconds(
        ("image",),
        name,
        1,
        image_gb=image,
        snapshotter=snapshotter,
        storage=Storage.EBS,
        ebs_throughput_mib=mib,
    )


def node_cases() -> Iterator[Case]:
    """Return the rows on nodes, which need no configuration."""
    found = seconds(("schedule", "node"), "g6.2xlarge", 1)
    yield Case("c6", "pod to node", found, why="GPU operator installs on the node")
    yield Case("c15", "spike to scheduled pod", found, fitted=True)
    yield Case("c18", "pod to node", found, until=1, fitted=True)


def image_cases() -> Iterator[Case]:
    """Return the rows on pulls."""
    containerd, al2023, bottlerocket = Snapshotter
    unnamed = "instance not named, g5.8xlarge taken"
    for row, kind in (("c1", containerd), ("c2", al2023), ("c3", bottlerocket)):
        found = pull("g5.8xlarge", 9.354, kind, 1000)
        yield Case(row, f"pull, {kind}", found, fitted=True, why=unnamed)
    for which, kind in enumerate((containerd, al2023)):
        found = pull("g5.8xlarge", 10, kind, 1000)
        yield Case("c4", f"pull, {kind}", found, which, why=unnamed)
    found = seconds(("image",), "g6e.2xlarge", 1, image_gb=11.7, snapshotter=al2023)
    yield Case("c5", f"pull, {al2023}", found, less=53, fitted=True)
    found = pull("g6.2xlarge", 21, containerd, 125)
    yield Case("c11", "pull, containerd, gp3 125 MiB/s", found)
    found = (
        pull("g5.8xlarge", 8, containerd, 1000)
        + pull("g5.8xlarge", 12, containerd, 1000)
    ) / 2
    yield Case("c20", "pull, containerd, 8-12 GB", found, until=1, why=unnamed)
    found = sum(
        seconds(("image",), "p4d.24xlarge", 1, image_gb=size) for size in (8, 12)
    )
    yield Case(
        "c21",
        "pull, Bottlerocket, 8-12 GB",
        found / 2,
        until=1,
        why="Auto Mode; not the image of c3",
    )


def weight_cases() -> Iterator[Case]:
    """Return the rows on weights."""
    for which, streams in enumerate((4, 16, 32, 64)):
        found = seconds(("weights",), "g5.12xlarge", 15, streamer_concurrency=streams)
        what = f"S3, concurrency {streams}"
        yield Case("c27", what, found, which, fitted=True)
    for row, mib, all_streams in (("c28", 1000, (1, 4, 16)), ("c29", 4000, (1, 4, 8))):
        for which, streams in enumerate(all_streams):
            found = seconds(
                ("weights",),
                "g5.12xlarge",
                15,
                weights=WeightSource.DISK,
                storage=Storage.EBS,
                ebs_throughput_mib=mib,
                streamer_concurrency=streams,
            )
            what = f"EBS {mib} MiB/s, concurrency {streams}"
            yield Case(row, what, found, which, fitted=row == "c28" and streams == 1)
    for row, size, ranks in (("c22", 64, 2), ("c23", 203, 4)):
        found = seconds(("weights",), "p5.48xlarge", size, streamer_concurrency=8)
        why = f"tensor parallel {ranks}, other chunks; no rule of this kind fits both"
        yield Case(row, "S3, concurrency 8", found, why=why)


def engine_cases() -> Iterator[Case]:
    """Return the rows on the start of the server."""
    cold = CompileCacheState.NONE
    found = seconds(("compile", "capture"), "g6e.2xlarge", 1, compile_cache=cold)
    yield Case("c9", "compile and capture", found, fitted=True)  # c8 is part of it
    found = seconds(("compile",), "p4d.24xlarge", 1, compile_cache=cold)
    yield Case("c24", "compile, no cache", found, until=1, fitted=True)
    found = seconds(("capture",), "p5.4xlarge", 1)
    yield Case(
        "c25", "capture, no cache", found, until=1, why="H100; on L40S 35 s (c9)"
    )
    yield Case("c25", "capture, cache", found, 2, until=3)
    for which, size in enumerate((15.2, 5.6)):
        found = seconds(
            SERVER,
            "p4d.24xlarge",
            size,
            compile_cache=cold,
            weights=WeightSource.DISK,
            streamer_concurrency=1,
        )
        why = "Modal, not EC2; disk not named"
        # the row's text has 'fp16' between its two numbers
        yield Case("c33", f"whole server, {size} GB", found, 2 * which, why=why)


def whole_cases() -> Iterator[Case]:
    """Return the rows on whole starts."""
    own_loader = {"weights": WeightSource.DISK, "streamer_concurrency": 1}
    unnamed = "L40S, instance and disk not named, g6e.xlarge and NVMe taken"
    found = seconds(
        SERVER,
        "g6e.xlarge",
        16,
        **own_loader,
        files_cached=False,
        compile_cache=CompileCacheState.NONE,
        capture_sizes=67,
    )
    yield Case("c31", "whole server, cold", found, fitted=True, why=unnamed)
    found = seconds(
        SERVER,
        "g6e.xlarge",
        16,
        **own_loader,
        compile_cache=CompileCacheState.LOCAL_HIT,
        capture_sizes=8,
    )
    yield Case("c32", "whole server, cached", found, fitted=True, why=unnamed)
    ray = {
        "image_gb": 11.7,
        "snapshotter": Snapshotter.SOCI_AL2023,
        "weights": WeightSource.DOWNLOAD,
        "compile_cache": CompileCacheState.NONE,
    }
    why = "Ray Serve starts first, which is not in the ledger"
    found = seconds(NEW_NODE, "g6e.2xlarge", 23.9, **ray)
    # its pull, download and compilation are c5, c7 and c8
    yield Case("c10", "whole start, new node", found, fitted=True, why=why)
    for which, (storage, mib, source) in enumerate(
        (
            (Storage.NVME, 125, WeightSource.S3),
            (Storage.EBS, 1000, WeightSource.DISK),
            (Storage.EBS, 4000, WeightSource.DISK),
        )
    ):
        found = seconds(
            ("process", "weights", "capture"),
            "g5.12xlarge",
            15,
            weights=source,
            storage=storage,
            ebs_throughput_mib=mib,
            streamer_concurrency=32,
            capture_sizes=35,
        )
        why = "vLLM 0.5.5, which starts in 18 s without the weights"
        yield Case("c30", "server without compile", found, which, why=why)


def cases() -> list[Case]:
    """Return every comparison, in the order of the phases."""
    return [
        *node_cases(),
        *image_cases(),
        *weight_cases(),
        *engine_cases(),
        *whole_cases(),
    ]


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the data by their id."""
    with (folder / "coldstart_points.csv").open(encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def measured(case: Case, rows: dict[str, dict[str, str]]) -> float:
    """Return what a row gives, in seconds; the middle of a range."""
    numbers = [float(item) for item in re.findall(r"[\d.]+", rows[case.row]["value_s"])]
    last = case.which if case.until is None else case.until
    return (numbers[case.which] + numbers[last]) / 2 - case.less


def error(case: Case, rows: dict[str, dict[str, str]]) -> float:
    """Return by how much the computed time is off, as a share of the measured one."""
    return case.computed / measured(case, rows) - 1


def print_errors(rows: dict[str, dict[str, str]]) -> None:
    print("| row | what | measured s | computed s | error | in-sample | what differs |")
    print("|---|---|---|---|---|---|---|")
    for case in cases():
        middle = " (middle)" if case.until is not None else ""
        print(
            f"| {case.row} | {case.what} | {measured(case, rows):.1f}{middle} | "
            f"{case.computed:.1f} | {error(case, rows):+.0%} | "
            f"{'yes' if case.fitted else 'no'} | {case.why} |"
        )


def print_ledgers(ledgers: dict[str, ColdStart]) -> None:
    print(f"| | {' | '.join(PHASES)} | p50 | p90 |")
    print(f"|{'---|' * (len(PHASES) + 3)}")
    for name, ledger in ledgers.items():
        known = {item.name: f"{item.p50:.0f}" for item in ledger.phases}
        row = " | ".join(known.get(phase, "") for phase in PHASES)
        print(f"| {name} | {row} | {ledger.p50:.0f} | {ledger.p90:.0f} |")


def print_bounds(ledgers: dict[str, ColdStart]) -> None:
    print("| | image | weights |")
    print("|---|---|---|")
    for name, ledger in ledgers.items():
        bounds = {item.name: item.bound_by for item in ledger.phases}
        print(f"| {name} | {bounds['image']} | {bounds['weights']} |")


def print_savings(options: ColdStartOptions) -> None:
    found = {
        name: savings(
            instance=instance(name), weight_bytes=GUIDE_WEIGHT_BYTES, options=options
        )
        for name in GUIDE_INSTANCES
    }
    print(f"| p50, in seconds | {' | '.join(found)} |")
    print(f"|{'---|' * (len(found) + 1)}")
    for column in zip(*found.values(), strict=True):
        row = " | ".join(f"{item.p50:.0f}" for item in column)
        print(f"| {column[0].option} | {row} |")


def main() -> None:
    folder = os.environ.get("EKS_INFERENCE_DATA")
    if folder:
        print("\nComputed and measured\n")
        print_errors(read_rows(Path(folder)))
    else:
        print("EKS_INFERENCE_DATA is not set: no comparison with measurements")
    print("\nThe guide's ledgers, and its author's measurement\n")
    print_ledgers(
        {
            "standard": GUIDE_STANDARD,
            "optimized": GUIDE_OPTIMIZED,
            "timeline": GUIDE_TIMELINE,
            "measured, g4dn.2xlarge": ORIGIN_MEASURED,
            "computed for it": cold_start(
                instance=instance("g4dn.2xlarge"),
                weight_bytes=GUIDE_WEIGHT_BYTES,
                options=ORIGIN_OPTIONS,
            ),
        }
    )
    default = ColdStartOptions(capture_sizes=11)
    warm = replace(default, warm_node=True)
    snapshot = replace(default, storage=Storage.EBS, image_snapshot=True)
    for title, options in {
        "Without the guide's optimizations": STANDARD_OPTIONS,
        "As the guide configures it": GUIDE_OPTIONS,
        "As this library does, with 11 CUDA graphs": default,
        "The same, image in an EBS snapshot": snapshot,
        "The same, node and image there": warm,
    }.items():
        print(f"\n{title}\n")
        print_ledgers(guide_computed(options))
    print("\nWhat binds, as this library configures it\n")
    print_bounds(guide_computed(default))
    print("\nWhat an option saves, from the library's configuration\n")
    print_savings(default)


if __name__ == "__main__":
    main()
