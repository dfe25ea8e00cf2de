"""The pages of the planner and the simulator show what the command prints."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eks_inference.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
CONSOLE = re.compile(r"```console\n\$ eks-inference (.*)\n((?:.*\n)*?)```")
SHOWN = [
    shown
    for page in ("planning.md", "simulation.md")
    for shown in CONSOLE.findall((DOCS / page).read_text())
]


def test_pages_show_every_kind_of_answer() -> None:
    """The pages have a fit, a refusal, a plan, a cold start, a run, a comparison."""
    assert [command.split()[0] for command, _ in SHOWN] == [
        *("fit", "fit", "plan", "coldstart"),
        *("simulate", "compare"),
    ]


@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_pages_show_what_is_printed(command: str, shown: str) -> None:
    """What a page shows of a command is what the command prints today."""
    result = CliRunner().invoke(app, shlex.split(command))
    printed = [line.rstrip() for line in result.output.rstrip().splitlines()]
    assert printed == shown.rstrip().splitlines()
