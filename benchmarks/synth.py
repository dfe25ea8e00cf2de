"""What a synthesis costs, against an empty one-stack app in the same run.

    python benchmarks/synth.py [--repeat 5]

Prints wall and CPU time (user and system, of Python and Node.js together) as ratios to
the empty app, the growth with further models, and the calls that cross from Python to
JavaScript, which is where the time goes. Scenarios take turns, so that a busy machine
slows all of them alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = (1, 10, 50, 100)


@dataclass(frozen=True)
class Scenario:
    """One way to run a synthesis."""

    name: str
    models: int | None  # None: the empty app
    checks: bool = False
    validation: bool = False


SCENARIOS = (
    Scenario("empty app", None),
    Scenario("default stage", 1),
    Scenario("default stage, cdk-nag", 1, checks=True),
    *(Scenario(f"{count} models", count) for count in MODELS[1:]),
    Scenario("empty app, validation", None, validation=True),
    Scenario("default stage, cdk-nag, validation", 1, checks=True, validation=True),
)


def synthesize(scenario: Scenario) -> None:
    """Run one synthesis in this process."""
    import aws_cdk as cdk

    if scenario.models is None:
        app = cdk.App()
        cdk.Stack(app, "Empty")
        app.synth()
        return
    from infra.stacks import define_stacks
    from infra.stages import load

    settings = load()
    [pool], [model] = settings.pools, settings.models
    models = tuple(
        replace(model, name=f"model-{index}", max_replicas=1)
        for index in range(scenario.models)
    )
    if scenario.models > 1:
        # the default stage as it is, or many of its model
        pool = replace(pool, max_gpus=scenario.models)
        settings = replace(settings, pools=(pool,), models=models)
    app = cdk.App(context=json.loads((ROOT / "cdk.json").read_text())["context"])
    define_stacks(app, settings)
    if scenario.checks:
        from cdk_nag import AwsSolutionsChecks

        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


def count_calls(scenario: Scenario) -> Counter[str]:
    """Run one synthesis and count what crosses to JavaScript, by kind."""
    from jsii._kernel.providers import process

    calls: Counter[str] = Counter()
    send = process._NodeProcess.send  # noqa: SLF001 - there is no public way to count

    def counted(*arguments: Any) -> Any:
        calls[type(arguments[1]).__name__.removesuffix("Request")] += 1
        return send(*arguments)

    setattr(process._NodeProcess, "send", counted)  # noqa: SLF001, B010
    synthesize(scenario)
    return calls


def measure(scenario: Scenario) -> tuple[float, float]:
    """Run one synthesis in a process of its own; return wall and CPU seconds."""
    environment = {
        **os.environ,
        "CDK_VALIDATION": str(scenario.validation).lower(),
        "PYTHONPATH": str(ROOT),
    }
    with tempfile.TemporaryDirectory() as folder:
        environment["CDK_OUTDIR"] = folder
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, __file__, "--scenario", scenario.name],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"scenario {scenario.name!r} failed; run it with --scenario")
    return wall, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure every scenario and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each scenario")
    parser.add_argument("--scenario", help=argparse.SUPPRESS)
    parser.add_argument("--calls", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    if arguments.scenario:
        synthesize(by_name[arguments.scenario])
        return
    if arguments.calls:
        print(json.dumps(count_calls(by_name[arguments.calls])))
        return
    measure(SCENARIOS[1])  # fills jsii's cache, which the first run of a machine pays
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in by_name}
    for _ in range(arguments.repeat):
        for scenario in SCENARIOS:
            runs[scenario.name].append(measure(scenario))
    wall = {name: statistics.median(run[0] for run in runs[name]) for name in runs}
    cpu = {name: statistics.median(run[1] for run in runs[name]) for name in runs}
    print(
        f"medians of {arguments.repeat} runs; ratios to the empty app of the same kind"
    )
    print(f"{'scenario':<38}{'wall s':>8}{'CPU s':>8}{'ratio':>7}{'calls':>7}")
    for scenario in SCENARIOS:
        base = "empty app, validation" if scenario.validation else "empty app"
        print(
            f"{scenario.name:<38}{wall[scenario.name]:>8.2f}{cpu[scenario.name]:>8.2f}"
            f"{cpu[scenario.name] / cpu[base]:>7.2f}{sum(_calls(scenario).values()):>7}"
        )
    print("\nfurther models, CPU ms each:")
    for count in MODELS[1:]:
        extra = cpu[f"{count} models"] - cpu["default stage"]
        print(f"  1 to {count:<4}{1000 * extra / (count - 1):>6.1f}")


def _calls(scenario: Scenario) -> Counter[str]:
    environment = {
        **os.environ,
        "CDK_VALIDATION": str(scenario.validation).lower(),
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [sys.executable, __file__, "--calls", scenario.name],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return Counter(json.loads(run.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
