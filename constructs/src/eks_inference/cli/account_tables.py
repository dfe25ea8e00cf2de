"""What an account has, as tables in a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eks_inference.account.leftovers import KINDS
from eks_inference.cli.documents import Document

_NARROWEST = 124
"""Columns that the widest table needs."""

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def print_preflight(document: Document) -> None:
    """Print each check, and the repairs as commands that can be copied.

    Args:
        document: The checks as plain data.
    """
    console = _console()
    table = _table(("", "check", "found"))
    for check in document["checks"]:
        status = check["status"]
        table.add_row(
            f"[{_STYLES[status]}]{status}[/]",
            escape(check["check"]),
            escape(check["found"]),
        )
    console.print(table)
    repairs = [check for check in document["checks"] if check["repair"]]
    if repairs:
        console.print("\nTo repair it:")
    for check in repairs:
        _line(console, f"  - {check['check']}: {check['repair']}")


def print_sweep(document: Document) -> None:
    """Print what is left, what has become of it, and what is kept.

    Args:
        document: The sweep as plain data.
    """
    console = _console()
    left, kept = document["left"], document["kept"]
    if left:
        _print_left(console, left, delete=document["delete"])
    else:
        where = f"{document['cluster']} in {document['region']}"
        _line(console, f"Nothing is left of {where} that sweep would delete.")
    if kept:
        rows = ([row["kind"], row["id"], row["why"]] for row in kept)
        console.print()
        console.print(_filled(("never deleted by sweep", "id", "belongs by"), rows))
        _print_commands(console, "To delete that:", kept)
    for text in document["unknown"]:
        _line(console, f"Not looked at: {text}")


def _print_left(console: Console, left: Sequence[Document], *, delete: bool) -> None:
    keys = ("outcome", "kind", "id", "detail")
    header = ("", "was left", "id", "")
    if not delete:
        keys, header = (
            ("kind", "id", "detail", "reason"),
            ("left", "id", "", "belongs by"),
        )
    console.print(_filled(header, ([row[key] for key in keys] for row in left)))
    if not delete:
        _print_commands(console, "What --delete does, in this order:", left)
    failed = [row for row in left if row["error"]]
    if failed:
        console.print("\nNot deleted:")
    for row in failed:
        _line(console, f"  - {row['kind']} {row['id']}: {row['error']}")


def _print_commands(console: Console, title: str, rows: Iterable[Document]) -> None:
    commands = [row["command"] for row in rows if row["command"]]
    if commands:
        console.print(f"\n{title}")
    for command in commands:
        _line(console, f"  {command}")


def print_image_snapshot(document: Document) -> None:
    """Print the snapshot and its setting, or what it would be made with.

    Args:
        document: The plan, and what has come of it, as plain data.
    """
    console = _console()
    where = f"{document['cluster']} in {document['region']}"
    snapshot = document["snapshot"]
    match document["outcome"]:
        case "planned":
            _print_snapshot_plan(console, document)
        case "pending":
            text = (
                f"Snapshot {snapshot} of {where} is being made; --create waits for it."
            )
            _line(console, text)
        case "failed":
            _line(console, f"No snapshot of {where} was made.")
        case outcome:
            said = (
                "holds the images" if outcome == "created" else "has the images already"
            )
            _line(
                console,
                f"Snapshot {snapshot} of {where} {said}. The setting of a pool:",
            )
            _line(console, f"  {document['setting']}")
    for text in document["errors"]:
        _line(console, f"  - {text}")
    if document["left"]:
        console.print("\nInstances of another run; if none is at work, end them:")
    for instance in document["left"]:
        _line(console, f"  {KINDS['instance'].format(name=instance)}")


def _print_snapshot_plan(console: Console, document: Document) -> None:
    network = ", ".join((document["subnet"], *document["security_groups"]))
    rows = [
        ("cluster", f"{document['cluster']}, Kubernetes {document['kubernetes']}"),
        *(("image", name) for name in document["images"]),
        ("Bottlerocket", f"{document['bottlerocket']}, {document['ami']}"),
        ("instance", f"{document['instance_type']} in {network}"),
        ("instance profile", document["instance_profile"]),
        ("data volume", f"{document['volume_gib']} GiB, encrypted"),
    ]
    console.print("A snapshot would be made with:")
    for name, value in rows:
        _line(console, f"  {name:<18}{value}")
    console.print("\nWhat --create runs on the instance, in this order:")
    for command in document["commands"]:
        _line(console, f"  {command}")
    console.print(
        "\nThen it stops the instance, takes a snapshot of the data volume and ends "
        "the instance."
    )


def _filled(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = _table(header)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _table(header: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(header):
        # names and ids in one piece; the last column may be broken into lines
        table.add_column(name, no_wrap=index < len(header) - 1, overflow="fold")
    return table


def _line(console: Console, text: str) -> None:
    # whole, however narrow the terminal: it can be searched and copied
    console.print(escape(text), soft_wrap=True, highlight=False)


def _console() -> Console:
    # a pipe has no width
    return Console(width=max(Console().width, _NARROWEST), highlight=False)
