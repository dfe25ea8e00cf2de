"""The command ``preflight``: whether an account has what a deployment needs."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eks_inference._check import Problems
from eks_inference.cli.inputs import AsJson, Gpus, accelerators_of, reporting, show

if TYPE_CHECKING:
    from eks_inference.account.needs import DeploymentNeeds

NOT_READY = 1
"""Exit status when the deployment would fail."""

Region = Annotated[
    str | None, typer.Option(help="AWS region. [default: that of the profile]")
]
Profile = Annotated[str | None, typer.Option(help="Profile of the AWS configuration.")]


@reporting
def preflight(
    *,
    assembly: Annotated[
        Path | None,
        typer.Argument(
            metavar="ASSEMBLY",
            help="Folder of a synthesized app, such as cdk.out; or name GPUs.",
            show_default=False,
        ),
    ] = None,
    gpu: Gpus = None,
    gpus_per_node: Annotated[
        int | None, typer.Option(help="With --gpu: GPUs of a node. [default: 1]")
    ] = None,
    max_gpus: Annotated[
        int | None, typer.Option(help="With --gpu: most GPUs. [default: 11]")
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Option(
            help="With --gpu: on-demand, spot or spot-with-fallback. "
            "[default: spot-with-fallback]"
        ),
    ] = None,
    kubernetes_version: Annotated[
        str | None, typer.Option(help="With --gpu: version of Kubernetes.")
    ] = None,
    zone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ZONE",
            help="Availability zone of the nodes; may be given again. "
            "[default: those of the app or the region]",
        ),
    ] = None,
    region: Region = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Say whether an account has what a deployment needs: quotas, roles, zones.

    Only reads. The exit status is 1 when the deployment would fail.
    """
    # AWS's client is of no use to the other commands
    from eks_inference.account.preflight import (  # noqa: PLC0415
        has_failed,
        preflight,
    )
    from eks_inference.account.session import open_account  # noqa: PLC0415

    described = {
        "gpus_per_node": gpus_per_node,
        "max_gpus": max_gpus,
        "capacity": capacity,
        "kubernetes_version": kubernetes_version,
    }
    needs = _needs(
        assembly,
        gpu=gpu,
        described={key: value for key, value in described.items() if value is not None},
        zones=tuple(zone or ()),
    )
    if region is None and len(needs.regions) == 1:
        [region] = needs.regions
    account = open_account(region=region, profile=profile)
    checks = preflight(account, needs)
    document = {
        "region": account.region,
        "ready": not has_failed(checks),
        "checks": [
            {
                "check": check.name,
                "status": check.status.value,
                "found": check.found,
                "repair": check.repair,
            }
            for check in checks
        ],
    }
    if as_json:
        show("", document, as_json=True)
    else:
        from eks_inference.cli.account_tables import print_preflight  # noqa: PLC0415

        print_preflight(document)
    if not document["ready"]:
        raise typer.Exit(NOT_READY)


def _needs(
    assembly: Path | None,
    *,
    gpu: list[str] | None,
    described: dict[str, Any],
    zones: tuple[str, ...],
) -> "DeploymentNeeds":
    from eks_inference.account.assembly import read_needs  # noqa: PLC0415

    with Problems() as problems:
        if (assembly is None) == (gpu is None):
            problems.add(
                "'assembly' or 'gpu' must be given, and not both; pass for example "
                "cdk.out, or --gpu l4"
            )
        elif assembly is not None:
            for name, value in described.items():
                problems.broken(
                    f"'{name}' must not be given with an assembly",
                    value,
                    "the assembly says it",
                )
    if assembly is None:
        return _described_needs(gpu, zones=zones, **described)
    needs = read_needs(assembly)
    return replace(needs, availability_zones=zones) if zones else needs


def _described_needs(
    gpu: list[str] | None,
    *,
    zones: tuple[str, ...],
    gpus_per_node: int = 1,
    max_gpus: int = 11,
    capacity: str = "spot-with-fallback",
    kubernetes_version: str | None = None,
) -> "DeploymentNeeds":
    from eks_inference.account.needs import (  # noqa: PLC0415
        DeploymentNeeds,
        PoolNeeds,
    )
    from eks_inference.capacity import Capacity  # noqa: PLC0415
    from eks_inference.planning.pool import GpuPool  # noqa: PLC0415

    bought = {
        "on-demand": Capacity.on_demand(),
        "spot": Capacity.spot(),
        "spot-with-fallback": Capacity.spot_with_fallback(),
    }
    with Problems() as problems:
        problems.one_of("capacity", capacity, bought)
    pool = GpuPool(
        name="gpu",
        accelerators=accelerators_of(gpu) or (),
        gpus_per_node=gpus_per_node,
        capacity=bought[capacity],
        max_gpus=max_gpus,
    )
    return DeploymentNeeds(
        pools=(PoolNeeds(pool=pool),),
        kubernetes_version=kubernetes_version,
        availability_zones=zones,
    )
