"""The EC2 instance types that a pool can launch, and what they cost."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.planning._instance_table import (
    LEFT_OUT,
    PRICES_DATE,
    PRICES_REGION,
    ROWS,
)

__all__ = [
    "INSTANCE_TYPES",
    "LEFT_OUT",
    "PRICES_DATE",
    "PRICES_REGION",
    "InstanceType",
    "Prices",
    "instance",
    "instances_with",
]

_MOST_USD_PER_HOUR = 10_000
"""Assumed to be a mistake when exceeded: the dearest type costs 142 (2026-07)."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """An EC2 instance type with NVIDIA GPUs, as the table of them has it.

    Traffic of one TCP connection is limited to 5 Gbit/s outside a cluster placement
    group, whatever the bandwidth (EC2 User Guide, instance network bandwidth).

    Args:
        name: Name, such as ``g5.xlarge``.
        accelerator: Its GPUs.
        gpus: Number of them.
        vcpus: Virtual CPUs.
        memory_mib: Memory in MiB.
        allocatable_cpu: CPUs that Karpenter expects pods to get (computed for AL2023;
            for Bottlerocket not measured).
        allocatable_memory_mib: Memory that Karpenter expects pods to get, in MiB
            (computed for AL2023; for Bottlerocket not measured).
        network_mbps: Network bandwidth that it always has, in Mbit/s.
        network_burst_mbps: Most network bandwidth, in Mbit/s: what AWS calls "up to",
            typically for 5 to 60 minutes and not guaranteed (EC2 User Guide). Equal
            to ``network_mbps`` where it does not burst.
        ebs_baseline_mbps: Bandwidth to EBS that it always has, in Mbit/s.
        ebs_mbps: Most bandwidth to EBS, in Mbit/s. Equal to ``ebs_baseline_mbps``
            where it does not burst.
        nvme_gb: Local NVMe storage in decimal gigabytes, 0 where there is none.
        usd_per_hour: On-demand price of ``PRICES_DATE`` in ``PRICES_REGION``, or None
            where the list has none.
    """

    name: str
    accelerator: Accelerator
    gpus: int
    vcpus: int
    memory_mib: int
    allocatable_cpu: float
    allocatable_memory_mib: int
    network_mbps: int
    network_burst_mbps: int
    ebs_baseline_mbps: int
    ebs_mbps: int
    nvme_gb: int
    usd_per_hour: float | None


INSTANCE_TYPES = tuple(
    InstanceType(row[0], Accelerator[row[1]], *row[2:]) for row in ROWS
)
"""Every instance type that a pool can use, by family and size.

``LEFT_OUT`` names the others with GPUs, and why. Source: ``_instance_table``."""

_BY_NAME = {item.name: item for item in INSTANCE_TYPES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What instances cost. Without arguments: the on-demand prices of the table.

    Args:
        usd_per_hour: On-demand prices in USD by instance type, which go before those
            of the table: another region's, or negotiated ones. Default: none.
        spot_ratio: Spot price as a share of the on-demand price, above 0 and at most
            1. Default: not said, and then no spot price is given: the market sets it,
            and it differs by zone and hour.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    # a mapping has no hash; prices that differ only here share one
    usd_per_hour: Mapping[str, float] = field(default_factory=dict, hash=False)
    spot_ratio: float | None = None

    def __post_init__(self) -> None:
        with Problems("prices") as problems:
            if not isinstance(self.usd_per_hour, Mapping):
                problems.broken(
                    "'usd_per_hour' must be a mapping of instance types to prices",
                    self.usd_per_hour,
                    "for example {'g5.xlarge': 1.006}",
                )
            else:
                for name, price in self.usd_per_hour.items():
                    _check_known(problems, "usd_per_hour", name)
                    _check_positive(
                        problems, f"'usd_per_hour' of {name}", price, _MOST_USD_PER_HOUR
                    )
            if self.spot_ratio is not None:
                _check_positive(problems, "'spot_ratio'", self.spot_ratio, 1)

    def on_demand(self, instance: InstanceType) -> float | None:
        """Return the on-demand price in USD per hour, or None where there is none.

        Args:
            instance: What is bought.
        """
        return self.usd_per_hour.get(instance.name, instance.usd_per_hour)

    def spot(self, instance: InstanceType) -> float | None:
        """Return the spot price in USD per hour, or None: it is never guessed.

        Args:
            instance: What is bought.
        """
        price = self.on_demand(instance)
        if price is None or self.spot_ratio is None:
            return None
        return price * self.spot_ratio


def instance(name: str) -> InstanceType:
    """Return an instance type.

    Args:
        name: Name, such as ``g5.xlarge``.

    Raises:
        ConfigurationError: No pool can use an instance type of this name.
    """
    with Problems() as problems:
        _check_known(problems, "name", name)
    return _BY_NAME[name]


def instances_with(
    accelerators: Iterable[Accelerator], *, gpus: int | None = None
) -> tuple[InstanceType, ...]:
    """Return the instance types with one of some GPUs, cheapest first.

    The order is that of ``InstanceType.usd_per_hour``, those without a price last,
    and then that of the names.

    Args:
        accelerators: GPUs that are wanted.
        gpus: How many of them an instance has. Default: any number.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems() as problems:
        wanted: tuple[Accelerator, ...] = ()
        if isinstance(accelerators, Iterable) and not isinstance(accelerators, str):
            wanted = tuple(accelerators)
            for item in wanted:
                problems.instance("accelerators", item, Accelerator)
        else:
            problems.broken(
                "'accelerators' must be several GPUs",
                accelerators,
                "pass for example [Accelerator.L4]",
            )
        if gpus is not None:
            problems.integer("gpus", gpus, minimum=1)
    found = [
        item
        for item in INSTANCE_TYPES
        if item.accelerator in wanted and gpus in {None, item.gpus}
    ]
    return tuple(sorted(found, key=_price_then_name))


def _price_then_name(item: InstanceType) -> tuple[bool, float, str]:
    return item.usd_per_hour is None, item.usd_per_hour or 0, item.name


def _check_known(problems: Problems, field_name: str, name: object) -> None:
    if isinstance(name, str) and name in _BY_NAME:
        return
    repair = "'g5.xlarge' is one; INSTANCE_TYPES lists all"
    if isinstance(name, str) and name in LEFT_OUT:
        repair = LEFT_OUT[name]
    elif isinstance(name, str) and (near := difflib.get_close_matches(name, _BY_NAME)):
        repair = f"did you mean {' or '.join(map(repr, near))}?"
    problems.broken(
        f"'{field_name}' must name an EC2 instance type that a pool can use",
        name,
        repair,
    )


def _check_positive(
    problems: Problems, what: str, value: object, maximum: float
) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= maximum
    ):
        problems.broken(f"{what} must be a number above 0 and at most {maximum}", value)
