"""The command ``sweep``: what a deletion has left behind."""

from typing import Annotated

import typer

from eks_inference._check import Problems
from eks_inference.cli.inputs import AsJson, reporting, show
from eks_inference.cli.preflight import Profile, Region

NOT_CLEAN = 1
"""Exit status when something is left."""


Stage = Annotated[str | None, typer.Option(help="Stage of the platform, such as dev.")]


@reporting
def sweep(
    *,
    stage: Stage = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Name of the cluster that is gone. [default: inference-STAGE]"
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; otherwise it is only listed.")
    ] = False,
    region: Region = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List what a deleted cluster has left in the account, and delete it if told so.

    Refused while the cluster or its stage's stacks exist. The exit status is 1 when
    something is left.
    """
    # AWS's client is of no use to the other commands
    from eks_inference.account.ownership import (  # noqa: PLC0415
        PLATFORM_CLUSTER,
        Owner,
    )
    from eks_inference.account.session import open_account  # noqa: PLC0415
    from eks_inference.account.sweep import sweep  # noqa: PLC0415

    with Problems() as problems:
        if stage is None and cluster is None:
            problems.add(
                "'stage' or 'cluster' must be given; pass for example --stage dev"
            )
    owner = Owner(
        cluster=PLATFORM_CLUSTER.format(stage=stage) if cluster is None else cluster,
        stage=stage,
    )
    account = open_account(region=region, profile=profile)
    swept = sweep(account, owner, delete=delete)
    document = {
        "cluster": owner.cluster,
        "stage": owner.stage,
        "region": account.region,
        "delete": delete,
        "clean": swept.is_clean,
        "left": [
            {
                "kind": result.item.kind,
                "id": result.item.name,
                "detail": result.item.detail,
                "reason": result.item.reason,
                "command": result.item.command,
                "outcome": result.outcome.value,
                "error": result.error,
            }
            for result in swept.results
        ],
        "kept": [
            {
                "kind": item.kind,
                "id": item.name,
                "why": item.reason
                + (f", of the stack {item.stack}" if item.stack else ""),
                "command": item.command,
            }
            for item in swept.kept
        ],
        "unknown": list(swept.unknown),
    }
    if as_json:
        show("", document, as_json=True)
    else:
        from eks_inference.cli.account_tables import print_sweep  # noqa: PLC0415

        print_sweep(document)
    if not swept.is_clean:
        raise typer.Exit(NOT_CLEAN)
