"""How long the command line takes, against an interpreter that does nothing.

    python benchmarks/cli.py [--repeat 10]

Prints the median wall time of each command in milliseconds, and how many times that of
``python -c pass`` it is.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = [sys.executable, "-c"]
PROGRAM = str(Path(sys.executable).with_name("eks-inference"))

IMPORTS = ("typer", "eks_inference.cli.main")
COMMANDS = (
    "--help",
    "instances",
    "coldstart mistral-7b-awq",
    "fit mistral-7b-awq",
    "fit mistral-7b-awq --all",
    "fit mistral-7b-awq --json",
    "plan mistral-7b-awq",
    "plan mistral-7b-awq --json",
    "plan mistral-7b-awq --html {html}",
)


def milliseconds(command: list[str], repeat: int) -> float:
    """Return the median wall time of a command, after one that warms the caches."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1e3


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10)
    repeat = parser.parse_args().repeat
    nothing = milliseconds([*PYTHON, "pass"], repeat)
    with tempfile.TemporaryDirectory() as directory:
        html = str(Path(directory) / "plan.html")
        commands = {
            "python -c pass": [*PYTHON, "pass"],
            **{f"import {name}": [*PYTHON, f"import {name}"] for name in IMPORTS},
            **{
                f"eks-inference {line}": [PROGRAM, *line.format(html=html).split()]
                for line in COMMANDS
            },
        }
        for name, command in commands.items():
            taken = milliseconds(command, repeat)
            print(f"{name:55} {taken:6.0f} ms {taken / nothing:6.1f} x")


if __name__ == "__main__":
    main()
