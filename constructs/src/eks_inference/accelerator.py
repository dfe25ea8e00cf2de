"""The GPUs that a pool can ask for, with the facts that decide where a model runs."""

from enum import Enum

_ASSUMED_CUDA_SHARE = 0.97
"""Share of AWS's figure that CUDA is assumed to have where no measurement was found.

Of the GPUs with one, T4 apart, the lowest share is 98.5 % (A100 40 GB)."""


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

    Memory that CUDA reports, ``cuda_memory_mib``: what others have measured, read in
    2026-11. It differs by some 0.2 GiB between drivers and boards; of the values found,
    a low one is taken. "PyTorch" is its message "GPU 0 has a total capacity of ...",
    to 0.01 GiB; "logs" are such messages in public repositories, found by their text,
    without a thread to cite. What ECC takes is gone from all of them.

    - T4: 14.56 GiB, PyTorch, Zheng-Chong/CatVTON#133 and
      AlphaGPU/leetgpu-challenges#52 (14.76 in 2021, xinge008/Cylinder3D#109). AWS
      counts the sixteenth that ECC takes.
    - T4G: not found, assumed to be T4's: nvidia-smi shows 15,360 MiB for both (logs).
    - A10G: 22.06 GiB, PyTorch on g5.2xlarge, logs (22.20 on g5.12xlarge in 2023,
      XavierXiao/Dreambooth-Stable-Diffusion#18). AWS's figure for it, L4 and L40S is
      24 and 48 decimal GB, which is not what the cards have.
    - L4: 22.03 GiB, PyTorch, logs.
    - L40S: 44.39 GiB, PyTorch, logs (L40: 44.40, NVlabs/Eagle#68).
    - RTX PRO 4500: not found, assumed: see the constant above. nvidia-smi shows
      32,623 MiB on g7.4xlarge (logs), from which the driver's share still goes.
    - RTX PRO 6000: 94.97 GiB, antirez/ds4#431, and PyTorch, logs.
    - A100 40 GB: 42,298,834,944 bytes, H100: 84,942,979,072, B200: 191,514,411,008:
      openxla/xla, xla/backends/gpu/target_config/specs (``model_str``), a100_sxm_40 at
      4336d12, h100_sxm at 0774019 and b200 at 300ec95. H100 also PyTorch, 79.11 GiB,
      vllm-project/vllm#27508.
    - A100 80 GB: 79.14 GiB, PyTorch, lianqi1008/Control-GIC#6 (79.15,
      vllm-project/vllm#4408).
    - H200: 139.72 GiB, B300: 267.69 GiB, PyTorch, logs.
    """

    T4 = ("t4", 16_384, 14_909, (7, 5), "amd64", (1, 4), True)
    T4G = ("t4g", 16_384, 14_909, (7, 5), "arm64", (1, 2), False)
    A10G = ("a10g", 22_888, 22_589, (8, 6), "amd64", (1, 4, 8), True)
    L4 = ("l4", 22_888, 22_558, (8, 9), "amd64", (1, 4, 8), True)
    L40S = ("l40s", 45_776, 45_455, (8, 9), "amd64", (1, 4, 8), True)
    RTX_PRO_4500 = ("rtx-pro-4500", 32_768, None, (12, 0), "amd64", (1, 2, 4, 8), True)
    RTX_PRO_6000 = (
        "rtx-pro-server-6000",
        98_304,
        97_249,
        (12, 0),
        "amd64",
        (1, 2, 4, 8),
        True,
    )
    A100_40G = ("a100", 40_960, 40_339, (8, 0), "amd64", (8,), True)
    A100_80G = ("a100", 81_920, 81_039, (8, 0), "amd64", (8,), True)
    H100 = ("h100", 81_920, 81_008, (9, 0), "amd64", (1, 8), True)
    H200 = ("h200", 144_384, 143_073, (9, 0), "amd64", (8,), True)
    B200 = ("b200", 183_359, 182_642, (10, 0), "amd64", (8,), True)
    B300 = ("b300", 275_040, 274_114, (10, 3), "amd64", (8,), True)

    def __init__(  # noqa: PLR0917 - a row of the table above
        self,
        gpu_name: str,
        memory_mib: int,
        cuda_memory_mib: int | None,
        compute_capability: tuple[int, int],
        architecture: str,
        counts: tuple[int, ...],
        has_local_nvme: bool,
    ) -> None:
        self.gpu_name = gpu_name
        """The GPU as Karpenter labels it."""
        self.memory_mib = memory_mib
        """Memory of one GPU in MiB, as AWS reports it and Karpenter labels it."""
        self.cuda_memory_mib = cuda_memory_mib or int(memory_mib * _ASSUMED_CUDA_SHARE)
        """Memory of one GPU in MiB that CUDA reports to a process: less than AWS's
        figure, and what vLLM multiplies with ``gpu_memory_utilization``."""
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
