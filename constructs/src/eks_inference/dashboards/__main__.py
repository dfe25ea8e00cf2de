"""Writes the dashboards of a cluster: ``python -m eks_inference.dashboards FOLDER``."""

import json
import sys
from pathlib import Path

from eks_inference.dashboards import dashboards

USAGE = "usage: python -m eks_inference.dashboards FOLDER"


def main(arguments: list[str]) -> int:
    """Write one file for each dashboard, which Grafana imports as it is.

    Args:
        arguments: The folder; it is made where there is none.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)  # noqa: T201 - a command
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for board in dashboards():
        text = json.dumps(board.document(), indent=2, sort_keys=True)
        (folder / board.file_name).write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
