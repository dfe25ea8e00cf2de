"""The command ``image-snapshot``: a data volume with images that nodes start from."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from eks_inference._check import Problems
from eks_inference.cli.inputs import AsJson, reporting, show
from eks_inference.cli.preflight import Profile, Region
from eks_inference.cli.sweep import Stage

if TYPE_CHECKING:
    from eks_inference.account.session import Account
    from eks_inference.account.snapshot_maker import SnapshotResult
    from eks_inference.account.snapshot_plan import SnapshotPlan

NOT_MADE = 1
"""Exit status when a snapshot could not be made, or its instance not be ended."""


@reporting
def image_snapshot(
    *,
    assembly: Annotated[
        Path | None,
        typer.Argument(
            metavar="ASSEMBLY",
            help="Folder of a synthesized app, such as cdk.out, whose models' images "
            "are meant; or name images.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE",
            help="Image with registry and tag or digest; may be given again.",
        ),
    ] = None,
    stage: Stage = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Name of the cluster whose nodes start from it. "
            "[default: inference-STAGE]"
        ),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make it; otherwise it is only planned.")
    ] = False,
    bottlerocket: Annotated[
        str | None,
        typer.Option(help="Bottlerocket release. [default: that of a pool's nodes]"),
    ] = None,
    instance_profile: Annotated[
        str | None,
        typer.Option(
            help="Instance profile whose role pulls. [default: that of the stage]"
        ),
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(help="Type of the instance that pulls. [default: m5.large]"),
    ] = None,
    volume_gib: Annotated[
        int | None, typer.Option(help="Size of the data volume. [default: 200]")
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a snapshot of a data volume with images, or say what it would take.

    An instance pulls the images, and is ended whatever happens. A snapshot that exists
    is named and not made again. The exit status is 1 when it could not be made.
    """
    # AWS's client is of no use to the other commands
    from eks_inference.account.image_snapshot import (  # noqa: PLC0415
        SnapshotRequest,
    )
    from eks_inference.account.session import open_account  # noqa: PLC0415
    from eks_inference.account.snapshot_plan import plan_snapshot  # noqa: PLC0415

    optional: dict[str, Any] = {
        "bottlerocket": bottlerocket,
        "instance_type": instance_type,
        "volume_gib": volume_gib,
    }
    with Problems() as problems:
        if assembly is not None and image:
            problems.broken(
                "'image' must not be given with an assembly",
                ", ".join(image),
                "the assembly says it",
            )
    wanted = partial(
        SnapshotRequest,
        cluster=cluster,
        stage=stage,
        instance_profile=instance_profile,
        **{key: value for key, value in optional.items() if value is not None},
    )
    # what is wrong with a request is said before anybody is asked
    named = None if assembly else wanted(images=tuple(image or ()))
    account = open_account(region=region, profile=profile)
    request = named or wanted(images=_images(account, assembly or Path()))
    plan = plan_snapshot(account, request)
    outcome, result = _made(account, plan, create=create)
    usable = outcome in {"found", "created"}
    document = {
        **_plan_document(plan),
        "region": account.region,
        "create": create,
        "outcome": outcome,
        "snapshot": result.snapshot,
        "setting": f'image_snapshot="{result.snapshot}"' if usable else None,
        "errors": list(result.errors),
    }
    if as_json:
        show("", document, as_json=True)
    else:
        from eks_inference.cli.account_tables import (  # noqa: PLC0415
            print_image_snapshot,
        )

        print_image_snapshot(document)
    if result.errors:
        raise typer.Exit(NOT_MADE)


def _made(
    account: "Account", plan: "SnapshotPlan", *, create: bool
) -> tuple[str, "SnapshotResult"]:
    from eks_inference.account.snapshot_maker import (  # noqa: PLC0415
        SnapshotResult,
        make_snapshot,
    )

    found = plan.existing
    if found is not None and (found.completed or not create):
        outcome = "found" if found.completed else "pending"
        return outcome, SnapshotResult(snapshot=found.name)
    if not create:
        return "planned", SnapshotResult(snapshot=None)
    with _ends_by_signal():
        result = make_snapshot(account, plan, say=_say)
    return "failed" if result.snapshot is None else "created", result


def _images(account: "Account", assembly: Path) -> tuple[str, ...]:
    from eks_inference.account.assembly import read_images  # noqa: PLC0415
    from eks_inference.account.session import (  # noqa: PLC0415
        reason_of,
        refusals,
        repair_of,
    )

    with Problems() as problems:
        try:
            number, _ = account.identity()
        except refusals() as error:
            problems.broken(
                "'credentials' must be accepted by AWS",
                reason_of(error),
                repair_of(error),
            )
    return read_images(assembly, account=number, region=account.region)


def _plan_document(plan: "SnapshotPlan") -> dict[str, Any]:
    from eks_inference.account.instance_shell import (  # noqa: PLC0415
        LIST,
        PREPARE,
        pull_command,
    )

    request = plan.request
    return {
        "cluster": request.owner.cluster,
        "stage": request.stage,
        "kubernetes": plan.kubernetes,
        "images": list(request.names),
        "bottlerocket": request.bottlerocket,
        "ami": plan.ami,
        "instance_type": request.instance_type,
        "instance_profile": plan.instance_profile,
        "subnet": plan.subnet,
        "security_groups": list(plan.security_groups),
        "volume_gib": request.volume_gib,
        "commands": [*PREPARE, *map(pull_command, request.names), LIST],
        "left": list(plan.left),
    }


def _say(text: str) -> None:
    # JSON on the standard output stays whole
    typer.echo(text, err=True)


@contextmanager
def _ends_by_signal() -> Iterator[None]:
    """Take the signal that cancels a pipeline's job for an interruption."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
