"""How a pool buys its instances."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems


@dataclass(frozen=True, slots=True)
class Capacity:
    """The EC2 purchase options that a pool may use.

    Use a factory; the constructor takes Karpenter's own words.

    Args:
        types: Values of ``karpenter.sh/capacity-type`` in no order: Karpenter itself
            prefers spot and takes on-demand when no spot offering is available.

    Example:
        ```python
        Capacity.on_demand()
        ```
    """

    types: tuple[str, ...]

    def __post_init__(self) -> None:
        with Problems("capacity") as problems:
            if problems.sequence("types", self.types):
                problems.not_empty(
                    "types", self.types, repair="use for example Capacity.on_demand()"
                )
                for item in self.types:
                    problems.one_of("types", item, ("on-demand", "reserved", "spot"))

    @classmethod
    def on_demand(cls) -> Self:
        """On-demand instances only: nothing is reclaimed."""
        return cls(("on-demand",))

    @classmethod
    def spot_with_fallback(cls) -> Self:
        """Spot where there is any, otherwise on-demand.

        EC2 gives two minutes of notice before it reclaims a spot instance, so models
        on such a pool must be able to drain in that time.
        """
        return cls(("on-demand", "spot"))

    @classmethod
    def spot(cls) -> Self:
        """Spot only: pods stay pending while EC2 has none."""
        return cls(("spot",))

    @property
    def uses_spot(self) -> bool:
        """Whether an instance of the pool can be reclaimed at two minutes' notice."""
        return "spot" in self.types
