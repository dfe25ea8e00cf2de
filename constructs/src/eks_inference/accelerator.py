"""The GPUs that a pool can ask for, with the facts that decide where a model runs."""

from enum import Enum


class Accelerator(Enum):
    """An NVIDIA GPU that EC2 offers and that current vLLM can use.

    Left out on purpose: V100 (compute capability 7.0, below vLLM's 7.5) and the
    fractional L4 of the g6f and gr6f families, for which Karpenter advertises no
    ``nvidia.com/gpu``.

    Facts per row: GPU name and memory as the Karpenter labels
    ``karpenter.k8s.aws/instance-gpu-name`` and ``.../instance-gpu-memory`` (MiB per
    GPU, as AWS reports it) give them, GPU counts that instances which are not bare
    metal have, and local NVMe: Karpenter's generated instance-type table,
    aws/karpenter-provider-aws at 1d92708 (2026-08-21). Compute capability: NVIDIA's
    CUDA GPU table, read 2026-11.
    """

    T4 = ("t4", 16_384, (7, 5), "amd64", (1, 4), True)
    T4G = ("t4g", 16_384, (7, 5), "arm64", (1, 2), False)
    A10G = ("a10g", 22_888, (8, 6), "amd64", (1, 4, 8), True)
    L4 = ("l4", 22_888, (8, 9), "amd64", (1, 4, 8), True)
    L40S = ("l40s", 45_776, (8, 9), "amd64", (1, 4, 8), True)
    RTX_PRO_4500 = ("rtx-pro-4500", 32_768, (12, 0), "amd64", (1, 2, 4, 8), True)
    RTX_PRO_6000 = (
        "rtx-pro-server-6000",
        98_304,
        (12, 0),
        "amd64",
        (1, 2, 4, 8),
        True,
    )
    A100_40G = ("a100", 40_960, (8, 0), "amd64", (8,), True)
    A100_80G = ("a100", 81_920, (8, 0), "amd64", (8,), True)
    H100 = ("h100", 81_920, (9, 0), "amd64", (1, 8), True)
    H200 = ("h200", 144_384, (9, 0), "amd64", (8,), True)
    B200 = ("b200", 183_359, (10, 0), "amd64", (8,), True)
    B300 = ("b300", 275_040, (10, 3), "amd64", (8,), True)

    def __init__(  # noqa: PLR0917 - a row of the table above
        self,
        gpu_name: str,
        memory_mib: int,
        compute_capability: tuple[int, int],
        architecture: str,
        counts: tuple[int, ...],
        has_local_nvme: bool,
    ) -> None:
        self.gpu_name = gpu_name
        """The GPU as Karpenter labels it."""
        self.memory_mib = memory_mib
        """Memory of one GPU in MiB, as AWS reports it and Karpenter labels it."""
        self.compute_capability = compute_capability
        """CUDA compute capability, major and minor."""
        self.architecture = architecture
        """CPU architecture of its instances, as ``kubernetes.io/arch`` has it."""
        self.counts = counts
        """How many of it one (virtualized) instance can have."""
        self.has_local_nvme = has_local_nvme
        """Whether every instance type with it has local NVMe storage."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names that settings use: the members' in lower case."""
        return tuple(member.name.lower() for member in cls)
