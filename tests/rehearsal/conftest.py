"""The rehearsal runs when it is named, and ends with a summary."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal.account import ACCOUNT, REGION, Account, emulator

HERE = Path(__file__).parent

Summary = list[str]
"""Lines of what was seen."""

_SUMMARY = pytest.StashKey[Summary]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the rehearsal out of every run that does not name it."""
    named = (Path(argument.split("::")[0]).resolve() for argument in config.args)
    asked = any(path.is_relative_to(HERE) for path in named)
    return True if collection_path.is_relative_to(HERE) and not asked else None


def pytest_configure(config: pytest.Config) -> None:
    """Begin the summary."""
    config.stash[_SUMMARY] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the summary."""
    if config.stash[_SUMMARY]:
        terminalreporter.section("rehearsal")
        for line in config.stash[_SUMMARY]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> Summary:
    """What is printed at the end."""
    return pytestconfig.stash[_SUMMARY]


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account that the CDK CLI has bootstrapped, with a synthesis of stage dev."""
    with emulator(tmp_path_factory.mktemp("rehearsal")) as account:
        account.run(
            *("cdk", "synth", "--quiet", "--output", str(account.assembly)),
            *("-c", "stage=dev", "-c", "checks=off"),
            *("-c", f"account={ACCOUNT}", "-c", f"region={REGION}"),
        )
        account.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        yield account
