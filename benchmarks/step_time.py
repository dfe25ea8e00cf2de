"""How far computed step times are from published ones, as tables.

    EKS_INFERENCE_DATA=... python benchmarks/step_time.py

Needs the folder of published times and recorded runs, and the repository's root as
working directory.
"""

import statistics
import sys
import timeit
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Print the errors, and what one call costs."""
    from eks_inference.accelerator import Accelerator
    from eks_inference.planning.step_time import StepModel
    from tests.library import test_step_time as tests
    from tests.library.architectures import LLAMA_8B

    print(
        "Time per token against published runs (row: GPU, format, sequences, context)"
    )
    for other in (False, True):
        for name, error in tests.serving_errors(other_kernels=other).items():
            note = "  another kernel or engine, not modelled" if other else ""
            print(f"  {name:40} {error:+7.1%}{note}")

    groups = tests.tabled_errors()
    print("\nAIConfigurator 0.12, measured tables: mean absolute and largest error")
    for key, errors in groups.items():
        print(_line(" ".join(key), errors))
    for kind in ("decode", "prefill"):
        together = [
            error for key, group in groups.items() if key[0] == kind for error in group
        ]
        print(_line(f"{kind}, all", together))

    model = StepModel(tests.checkpoint(LLAMA_8B), Accelerator.L4)
    calls = 200_000
    seconds = timeit.timeit(
        lambda: model.seconds(tokens=64, sequences=64, context_tokens=30_000),
        number=calls,
    )
    print(f"\nOne call takes {seconds / calls * 1e9:.0f} ns")


def _line(name: str, errors: list[float]) -> str:
    mean = statistics.mean(map(abs, errors))
    worst = max(errors, key=abs)
    return f"  {name:28} n={len(errors):3}  {mean:6.1%}  {worst:+7.1%}"


if __name__ == "__main__":
    main()
