"""Where vLLM keeps what torch.compile has produced."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems


@dataclass(frozen=True, slots=True)
class CompileCache:
    """The volume for compiled kernels.

    Use a factory. A cache that is found saves the compilation only: profiling and
    the capture of CUDA graphs run in every start.

    Args:
        claim_name: PersistentVolumeClaim in the model's namespace, or None for a
            cache that ends with the pod.
    """

    claim_name: str | None

    def __post_init__(self) -> None:
        if self.claim_name is not None:
            with Problems("compile cache") as problems:
                problems.dns_label("claim_name", self.claim_name)

    @classmethod
    def shared(cls, claim_name: str) -> Self:
        """Share through a volume that many pods can write (EFS).

        A pod sees only its own directory: one per model, GPU and image. The volume
        becomes necessary for a start; see ``off``.
        """
        return cls(claim_name)

    @classmethod
    def off(cls) -> Self:
        """Compile in every start; no shared volume can then hold up a start."""
        return cls(None)
