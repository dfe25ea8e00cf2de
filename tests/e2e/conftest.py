"""The tests against a real vLLM run when they are named, and end with a summary."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
VLLM = HERE.parents[1] / ".venv-e2e" / "bin" / "vllm"

Summary = dict[str, str]
"""What was measured, by what it is called."""

_SUMMARY = pytest.StashKey[Summary]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out of every run that does not name them: they take minutes."""
    named = (Path(argument.split("::")[0]).resolve() for argument in config.args)
    asked = any(path.is_relative_to(HERE) for path in named)
    return True if collection_path.is_relative_to(HERE) and not asked else None


def pytest_configure(config: pytest.Config) -> None:
    """Begin the summary."""
    config.stash[_SUMMARY] = {}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the summary."""
    if config.stash[_SUMMARY]:
        terminalreporter.section("real vLLM")
        for name, value in config.stash[_SUMMARY].items():
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> Summary:
    """What is printed at the end."""
    return pytestconfig.stash[_SUMMARY]


@pytest.fixture(scope="session", autouse=True)
def vllm() -> Path:
    """The program; without it nothing is proved, so that nothing is skipped."""
    if not VLLM.exists():
        pytest.exit(f"{VLLM} does not exist; 'make e2e' installs it", returncode=1)
    return VLLM
