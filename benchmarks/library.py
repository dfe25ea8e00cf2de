"""What a pool and a model of the library add to a synthesis of somebody else's app.

    python benchmarks/library.py [--repeat 5]

Prints CPU and wall milliseconds and calls to JavaScript for each pool and model, beyond
an app with an imported cluster and nothing else of the library.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

COUNTS = (1, 10, 50, 100)


def synthesize(kind: str, count: int) -> int:
    """Run one synthesis in this process and return its calls to JavaScript."""
    import aws_cdk as cdk
    from jsii._kernel.providers import process

    import eks_inference
    from eks_inference.testing import imported_cluster

    calls = 0
    send = process._NodeProcess.send  # noqa: SLF001 - there is no public way to count

    def counted(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        return send(*arguments)  # type: ignore[arg-type]

    setattr(process._NodeProcess, "send", counted)  # noqa: SLF001, B010
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    cluster = imported_cluster(stack)
    store = eks_inference.ModelStore(stack, "Store")
    if kind == "pools":
        for index in range(count):
            eks_inference.GpuInferencePool(stack, f"pool-{index}", cluster=cluster)
    if kind == "models":
        pool = eks_inference.GpuInferencePool(
            stack, "pool", cluster=cluster, max_gpus=count + 1
        )
        for index in range(count):
            eks_inference.QueueScaledModel(
                stack,
                f"Model{index}",
                pool=pool,
                model=eks_inference.Model.from_bucket(
                    store,
                    "models/a/",
                    name=f"model-{index}",
                    weights_gb=4,
                    max_model_len=8192,
                ),
                scaling=eks_inference.QueueScaling(max_replicas=1),
            )
    app.synth()
    return calls


def measure(kind: str, count: int) -> tuple[float, float, int]:
    """Run one synthesis in a process of its own: wall, CPU, calls."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "CDK_VALIDATION": "false",
            "CDK_OUTDIR": folder,
        }
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, __file__, "--run", kind, str(count)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        output = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{count} {kind} failed; run it with --run {kind} {count}")
    return wall, usage.ru_utime + usage.ru_stime, int(output.split()[-1])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each scenario")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(synthesize(arguments.run[0], int(arguments.run[1])))
        return
    scenarios = [("nothing", 0)] + [
        (kind, count) for kind in ("models", "pools") for count in COUNTS
    ]
    measure("nothing", 0)  # fills jsii's cache
    runs: dict[tuple[str, int], list[tuple[float, float, int]]] = {
        scenario: [] for scenario in scenarios
    }
    for _ in range(arguments.repeat):
        for scenario in scenarios:
            runs[scenario].append(measure(*scenario))
    median = {
        scenario: [
            statistics.median(run[i] for run in runs[scenario]) for i in range(3)
        ]
        for scenario in scenarios
    }
    base = median["nothing", 0]
    print(f"medians of {arguments.repeat} runs; for each pool or model beyond the app")
    print(f"without: {base[0]:.2f} s wall, {base[1]:.2f} s CPU, {base[2]:.0f} calls")
    print(f"{'':<14}{'wall ms':>9}{'CPU ms':>9}{'calls':>8}")
    for kind, count in scenarios[1:]:
        wall, cpu, calls = (
            (value - before) / count
            for value, before in zip(median[kind, count], base, strict=True)
        )
        print(f"{count:>5} {kind:<8}{1000 * wall:>9.1f}{1000 * cpu:>9.1f}{calls:>8.1f}")


if __name__ == "__main__":
    main()
