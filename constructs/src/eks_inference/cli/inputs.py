"""What the commands share: options, what they mean, and how answers are given."""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.catalogue import checkpoint as known_checkpoint
from eks_inference.planning.hugging_face import read_checkpoint

Arguments = ParamSpec("Arguments")
Known = TypeVar("Known")

_NARROWEST = 110
"""Columns that the widest table needs."""

DOES_NOT_FIT = 1
"""Exit status when a model does not fit."""

BAD_INPUT = 2
"""Exit status when the input is wrong, as that of every command-line parser."""

_OPTION_NAMES = {
    "'accelerators'": "'gpu'",
    "'tensor_parallel'": "'gpus'",
    "'weight_bytes'": "'weights_gb' in bytes",
    "Storage.EBS": "'ebs'",
    "INSTANCE_TYPES": "'eks-inference instances'",
    "'read_checkpoint'": "the path of its 'config.json' as MODEL",
}
"""What the options are called where the library has another name for the same."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name of the catalogue (mistral-7b-awq), a config.json, or a directory "
        "with a config.json and safetensors.",
    ),
]
Gpus = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu", metavar="GPU", help="GPU to look at, such as l4; may be given again."
    ),
]
Length = Annotated[
    int | None, typer.Option(help="Longest sequence in tokens, prompt and answer.")
]
Spot = Annotated[
    float | None,
    typer.Option(help="Spot price as a share of on demand; without it none is given."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reporting(
    command: Callable[Arguments, None],
) -> Callable[Arguments, None]:
    """Return a command that says what is wrong with its input in one line each."""

    @wraps(command)
    def report(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigurationError as error:
            for problem in error.problems:
                typer.echo(f"Error: {_in_options(problem)}", err=True)
            raise typer.Exit(BAD_INPUT) from None

    return report


def checkpoint_of(model: str, weights_gb: float | None) -> Checkpoint:
    """Return the model that a name of the catalogue or a path stands for."""
    looks_like_path = "/" in model or model.endswith(".json")
    if not (looks_like_path or os.path.exists(model)):  # noqa: PTH110 - Path's raises
        with Problems() as problems:
            if weights_gb is not None:
                problems.broken(
                    "'weights_gb' must not be given for a model of the catalogue",
                    weights_gb,
                    "the catalogue knows it",
                )
        return known(known_checkpoint, model, option="model")
    with Problems() as problems:
        if weights_gb is not None:
            problems.number("weights_gb", weights_gb, minimum=0.001, maximum=10_000)
    size = None if weights_gb is None else round(weights_gb * 1e9)
    return read_checkpoint(model, weight_bytes=size)


def known(find: Callable[[str], Known], name: str, *, option: str) -> Known:
    """Return what has a name; the problem of an unknown one names the option."""
    try:
        return find(name)
    except ConfigurationError as error:
        raise ConfigurationError(
            problem.replace("'name'", f"'{option}'", 1) for problem in error.problems
        ) from None


def _in_options(problem: str) -> str:
    for name, option in _OPTION_NAMES.items():
        problem = problem.replace(name, option)
    # a file may have any name, and a problem is one line
    return " ".join(problem.splitlines())


def accelerators_of(names: list[str] | None) -> tuple[Accelerator, ...] | None:
    """Return the GPUs that names stand for, or None where there are no names."""
    if not names:
        return None
    with Problems() as problems:
        for name in names:
            problems.one_of("gpu", name.lower(), Accelerator.names())
    return tuple(dict.fromkeys(Accelerator[name.upper()] for name in names))


def show(name: str, document: Any, *, as_json: bool) -> None:
    """Print a document as JSON, or with the function of ``tables`` that has a name."""
    if as_json:
        _print_json(document)
    else:
        getattr(_tables(), name)(_console(), document)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def _tables() -> Any:
    # takes as long to load as everything else, and JSON does without it
    from eks_inference.cli import tables  # noqa: PLC0415

    return tables


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415

    # a pipe has no width, and a table of numbers is of no use when it is cut
    return Console(width=max(Console().width, _NARROWEST))


def write(path: Path, text: str, *, option: str) -> None:
    """Write a file, or say why it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        with Problems() as problems:
            problems.broken(
                f"'{option}' must be a file that can be written",
                str(path),
                str(error.strerror).lower(),
            )
