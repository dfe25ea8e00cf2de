"""How the weights of a model are stored, as vLLM distinguishes it."""

from enum import Enum


class Quantization(Enum):
    """The format of a model's weights.

    Bits per weight include what each group of weights carries beside them: AWQ and
    GPTQ in groups of 128 have a 16-bit scale and a 4-bit zero point for each group
    (4 + 20/128), MXFP4 an 8-bit scale for 32 weights (OCP Microscaling 1.0).
    """

    NONE = ("none", 16.0)
    FP8 = ("fp8", 8.0)
    INT8 = ("int8", 8.0)
    AWQ = ("awq", 4.15625)
    GPTQ = ("gptq", 4.15625)
    MXFP4 = ("mxfp4", 4.25)

    def __init__(self, label: str, bits: float) -> None:
        self.label = label
        """The name that settings and the command line use."""
        self.bits = bits
        """Bits of one quantized weight."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names that settings and the command line use."""
        return tuple(member.label for member in cls)
