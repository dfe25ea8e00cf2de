"""The weights of a model as they lie on a disk or in a bucket."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems
from eks_inference.architecture import Architecture
from eks_inference.quantization import Quantization

_TOLERANCE = 0.25
"""How far weights may be from what the parameters give. Groups of 32 instead of 128
add 11 %, prediction layers that vLLM does not load 3 % (DeepSeek V3); a wrong number
of bits, or another model, is a factor of 1.5 and more. Assumed."""

MOST_BYTES = 10**15
"""Most bytes of weights that are believed: a thousand times the largest models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights, and what they are the weights of.

    Args:
        name: Name for tables and messages.
        architecture: What the model looks like.
        weight_bytes: Bytes of all weights as a GPU holds them: those of the
            safetensors, float32 counted as the 16 bits that vLLM makes of it.
        quantization: Format of the weights. Default: 16 bits.
        dtype: Type of what is not quantized, as ``torch_dtype`` has it:
            ``float16`` or ``bfloat16``. Default: ``bfloat16``.
        files: Number of safetensors files, where it is known: the Run:ai streamer
            reads files in parallel. Default: not known.
        source: Where the numbers come from. Default: not said.

    Raises:
        ConfigurationError: A value breaks a rule, or the weights contradict the
            parameters by more than a quarter; all problems are named.

    Example:
        ```python
        from eks_inference.planning import CHECKPOINTS

        ours = Checkpoint(
            name="our-mistral",
            architecture=CHECKPOINTS["mistral-7b"].architecture,
            quantization=Quantization.AWQ,
            dtype="float16",
            weight_bytes=4_150_880_232,
        )
        ```
    """

    name: str
    architecture: Architecture
    weight_bytes: int
    quantization: Quantization = Quantization.NONE
    dtype: str = "bfloat16"
    files: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        with Problems(f"checkpoint {self.name!r}") as problems:
            problems.text("name", self.name)
            problems.one_of("dtype", self.dtype, ("float16", "bfloat16"))
            if self.files is not None:
                problems.integer("files", self.files, minimum=1)
            if not isinstance(self.source, str):
                problems.broken("'source' must be a text", self.source)
            if (
                problems.integer(
                    "weight_bytes", self.weight_bytes, minimum=1, maximum=MOST_BYTES
                )
                & problems.instance("architecture", self.architecture, Architecture)
                & problems.instance("quantization", self.quantization, Quantization)
            ):
                self._check_size(problems)

    def _check_size(self, problems: Problems) -> None:
        model = self.architecture
        expected = computed_weight_bytes(model, self.quantization)
        # some checkpoints store a tied table twice
        twice = model.embedding_parameters * 2 if model.tied_embeddings else 0
        lowest = expected * (1 - _TOLERANCE)
        highest = (expected + twice) * (1 + _TOLERANCE)
        if not lowest <= self.weight_bytes <= highest:
            problems.broken(
                f"'weight_bytes' must be about {expected / 1e9:.3g} GB, which "
                f"{model.parameters / 1e9:.3g} billion parameters take as "
                f"{self.quantization.label!r}",
                f"{self.weight_bytes / 1e9:.3g} GB",
                "correct 'parameters' or 'quantization', or count the weights of "
                "this model only",
            )

    @classmethod
    def computed(
        cls,
        *,
        name: str,
        architecture: Architecture,
        quantization: Quantization = Quantization.NONE,
        dtype: str = "bfloat16",
        source: str = "",
    ) -> Self:
        """Return a checkpoint whose bytes follow from the parameters.

        Args:
            name: Name for tables and messages.
            architecture: What the model looks like.
            quantization: Format of the weights. Default: 16 bits.
            dtype: Type of what is not quantized. Default: ``bfloat16``.
            source: Where the architecture comes from; that the bytes are computed
                is added. Default: not said.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems(f"checkpoint {name!r}") as problems:
            problems.instance("architecture", architecture, Architecture)
            problems.instance("quantization", quantization, Quantization)
        note = "bytes computed from the parameters"
        if quantization is not Quantization.NONE:
            note += ", with embeddings at 16 bits"
        return cls(
            name=name,
            architecture=architecture,
            weight_bytes=computed_weight_bytes(architecture, quantization),
            quantization=quantization,
            dtype=dtype,
            source=f"{source}; {note}" if source else note,
        )

    @property
    def weights_gb(self) -> float:
        """Size of the weights in decimal gigabytes."""
        return self.weight_bytes / 1e9


def computed_weight_bytes(
    architecture: Architecture, quantization: Quantization
) -> int:
    """Return the bytes that a model's weights take in a format.

    Embeddings, the output layer and an image encoder stay at 16 bits, and with MXFP4
    attention too (``modules_to_not_convert`` of openai/gpt-oss-20b). Norms and the
    router of a mixture of experts, less than 0.1 % of the weights, are counted like
    the rest.

    Args:
        architecture: What the model looks like.
        quantization: Format of the weights.
    """
    model = architecture
    whole = model.embedding_parameters + model.vision_parameters
    if quantization is Quantization.MXFP4:
        heads = 2 * (model.attention_heads + model.kv_heads)
        whole += model.layers * model.hidden_size * heads * model.head_size
    quantized = max(0, model.parameters - whole)
    return round(whole * 2 + quantized * quantization.bits / 8)
