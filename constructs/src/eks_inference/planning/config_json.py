"""The architecture that a ``config.json`` of Hugging Face describes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eks_inference._check import Problems
from eks_inference.architecture import LIMITS, Architecture

_NAMES = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden_size",
    "num_attention_heads": "attention_heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_size",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "context",
}
"""What ``config.json`` calls the fields of an ``Architecture``."""

_NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What transformers' configuration class of a family implies.

    Args:
        defaults: Fields that its published configurations leave out.
        tied: Whether embeddings are tied where the file does not say so.
        full_every: Which layers have no window: 0 none of them, 2 every second;
            None where no layer has one.
        experts: Field with the number of routed experts, or nothing.
        expert_size: Field with the width of one of them.
        latent: Whether attention caches a latent (MLA).
    """

    defaults: Mapping[str, int] = field(default_factory=dict)
    tied: bool = False
    full_every: int | None = None
    experts: str = ""
    expert_size: str = "moe_intermediate_size"
    latent: bool = False


_GEMMA3 = _Family(
    tied=True,
    full_every=6,
    defaults={
        "vocab_size": 262_208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131_072,
        "sliding_window": 4096,
    },
)
_QWEN_MOE = _Family(experts="num_experts")
_DEEPSEEK = _Family(experts="n_routed_experts", latent=True)

_FAMILIES = {
    "LlamaForCausalLM": _Family(),
    "MistralForCausalLM": _Family(
        full_every=0, defaults={"num_key_value_heads": 8, "sliding_window": 4096}
    ),
    "MixtralForCausalLM": _Family(
        full_every=0,
        experts="num_local_experts",
        expert_size="intermediate_size",
        defaults={"num_key_value_heads": 8},
    ),
    "Phi3ForCausalLM": _Family(full_every=0),
    "Qwen2ForCausalLM": _Family(),
    "Qwen3ForCausalLM": _Family(defaults={"head_dim": 128}),
    "Qwen2MoeForCausalLM": _QWEN_MOE,
    "Qwen3MoeForCausalLM": _QWEN_MOE,
    "GemmaForCausalLM": _Family(tied=True, defaults={"head_dim": 256}),
    "Gemma2ForCausalLM": _Family(
        tied=True, full_every=2, defaults={"head_dim": 256, "sliding_window": 4096}
    ),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "GptOssForCausalLM": _Family(
        full_every=2,
        experts="num_local_experts",
        expert_size="intermediate_size",
        defaults={"head_dim": 64, "sliding_window": 128},
    ),
    "DeepseekV2ForCausalLM": _DEEPSEEK,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
}
"""Defaults: the configuration classes of huggingface/transformers, in
src/transformers/models/<family>/configuration_<family>.py; Gemma 3 at 008f5c8, Mistral
at 001f85b, gpt-oss at 02b8f42."""


def read_architecture(config: Mapping[str, object]) -> Architecture:
    """Return the architecture that the content of a ``config.json`` describes.

    Parameters are those of the matrices; norms and biases, below 0.05 % of the
    weights, are left out, and so are prediction layers (``num_nextn_predict_layers``),
    which vLLM loads for speculative decoding only.

    Args:
        config: The file's content.

    Raises:
        ConfigurationError: The architecture is not known, or a field is missing or
            wrong; all of them are named.
    """
    with Problems("config.json") as problems:
        if not isinstance(config, Mapping):
            problems.broken("it must be a mapping", type(config).__name__)
            config = {}
        architecture = find_architecture(config, problems)
    # nothing is missing where no problem was noted
    assert architecture is not None
    return architecture


class _Numbers:
    """The whole numbers of a configuration; what is missing or wrong is noted.

    A wrong number reads as 1, so that the rest can be read, too; nothing is made of
    what follows from it.
    """

    def __init__(
        self, values: Mapping[str, Any], problems: Problems, prefix: str = ""
    ) -> None:
        self.values = values
        self.problems = problems
        self._prefix = prefix
        self._known: dict[str, int] = {}

    def __call__(
        self,
        key: str,
        limit: int = 1_000_000,
        *,
        minimum: int = 1,
        default: int | None = None,
    ) -> int:
        """Return a number; each is checked once, however often it is asked for."""
        if key not in self._known:
            found = self.values.get(key)
            value: Any = default if found is None else found
            is_good = self.problems.integer(
                self._prefix + key,
                value,
                minimum=minimum,
                maximum=limit,
                repair="" if value is not None else "add it to the file",
            )
            self._known[key] = value if is_good else 1
        return self._known[key]


def find_architecture(
    config: Mapping[str, Any], problems: Problems
) -> Architecture | None:
    """Return what ``read_architecture`` does, or note the problems and return None.

    Args:
        config: The file's content.
        problems: What gets the problems.
    """
    text = text_config(config, problems)
    classes = config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else classes
    family = _FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        problems.one_of("architectures", name, tuple(_FAMILIES), repair=_by_hand(text))
        return None
    noted = len(problems.messages)
    number = _Numbers({**family.defaults, **text}, problems)
    layers, hidden, heads, vocabulary, context = (
        number(key, LIMITS[_NAMES[key]]) for key in _NEEDED
    )
    kv_heads = number("num_key_value_heads", LIMITS["kv_heads"], default=heads)
    latent = 0
    if family.latent:
        attention, head_size, latent = _latent_attention(number, hidden, heads)
    else:
        head_size = number(
            "head_dim", LIMITS["head_size"], default=max(1, hidden // heads)
        )
        attention = 2 * hidden * (heads + kv_heads) * head_size
    mlp, active_mlp = _mlp(number, family, layers, hidden)
    windowed, window = _windows(number, family, layers)
    vision = _vision(config, hidden, problems)
    tied = text.get("tie_word_embeddings", family.tied)
    problems.flag("tie_word_embeddings", tied)
    if len(problems.messages) > noted:
        return None
    rest = layers * attention + (1 if tied else 2) * vocabulary * hidden
    return problems.attempt(
        lambda: Architecture(
            name=str(name),
            layers=layers,
            hidden_size=hidden,
            attention_heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            vocabulary=vocabulary,
            context=context,
            parameters=rest + mlp + vision,
            active_parameters=rest + active_mlp if family.experts else None,
            tied_embeddings=tied,
            latent_size=latent,
            windowed_layers=windowed,
            window=window,
            vision_parameters=vision,
        )
    )


def text_config(config: Mapping[str, Any], problems: Problems) -> Mapping[str, Any]:
    """Return the fields of the language model, which may lie one level deeper.

    Args:
        config: The file's content.
        problems: What gets the problem of a ``text_config`` that is no object.
    """
    inner = config.get("text_config")
    if inner is None:
        return config
    if not isinstance(inner, dict):
        problems.broken("'text_config' must be a JSON object", inner)
        return config
    return {**config, **inner}


def _by_hand(text: Mapping[str, Any]) -> str:
    given = [ours for key, ours in _NAMES.items() if text.get(key) is not None]
    missing = [ours for ours in _NAMES.values() if ours not in given]
    return (
        "build the Architecture by hand: the file gives "
        f"{', '.join(given) or 'nothing'}, add {', '.join([*missing, 'parameters'])}"
    )


def _latent_attention(
    number: _Numbers, hidden: int, heads: int
) -> tuple[int, int, int]:
    """Return parameters, head size and latent size of a layer (DeepSeek-V2, MLA)."""
    rank, plain, rotary, value = (
        number(key)
        for key in (
            "kv_lora_rank",
            "qk_nope_head_dim",
            "qk_rope_head_dim",
            "v_head_dim",
        )
    )
    query_rank = number("q_lora_rank", minimum=0, default=0)
    head_size = plain + rotary
    query = heads * head_size * (query_rank or hidden) + hidden * query_rank
    keys = hidden * (rank + rotary) + rank * heads * (plain + value)
    return query + keys + heads * value * hidden, head_size, rank + rotary


def _mlp(
    number: _Numbers, family: _Family, layers: int, hidden: int
) -> tuple[int, int]:
    """Return the parameters of all feed-forward layers, and those a token uses."""
    dense = 3 * hidden * number("intermediate_size")
    if not family.experts:
        return layers * dense, layers * dense
    experts = number(family.experts, 10_000)
    used = number("num_experts_per_tok", 10_000)
    if used > experts > 1:
        number.problems.broken(
            f"'num_experts_per_tok' must be at most {family.experts!r} ({experts})",
            used,
        )
    expert = 3 * hidden * number(family.expert_size)
    shared = expert * number("n_shared_experts", minimum=0, default=0)
    shared += (
        3 * hidden * number("shared_expert_intermediate_size", minimum=0, default=0)
    )
    first = number("first_k_dense_replace", minimum=0, default=0)
    every = number("moe_layer_freq", default=1)
    step = number("decoder_sparse_step", default=1)
    plain = number.values.get("mlp_only_layers") or []
    if not number.problems.sequence("mlp_only_layers", plain):
        plain = []
    sparse = sum(
        layer >= first
        and layer % every == 0
        and (layer + 1) % step == 0
        and layer not in plain
        for layer in range(layers)
    )
    always = sparse * (hidden * experts + shared) + (layers - sparse) * dense
    return always + sparse * experts * expert, always + sparse * used * expert


def _windows(number: _Numbers, family: _Family, layers: int) -> tuple[int, int]:
    """Return how many layers look back a window only, and how far."""
    types = number.values.get("layer_types")
    use = number.values.get("use_sliding_window")
    if types is not None:
        good = number.problems.sequence("layer_types", types)
        windowed = types.count("sliding_attention") if good else 0
    elif use is True:
        windowed = max(0, layers - number("max_window_layers", minimum=0, default=0))
    elif use is False or family.full_every is None:
        windowed = 0
    else:
        every = number("sliding_window_pattern", minimum=0, default=family.full_every)
        windowed = layers - (layers // every if every else 0)
    if not windowed or number.values.get("sliding_window") is None:
        return 0, 0
    return windowed, number("sliding_window", LIMITS["context"])


def _vision(config: Mapping[str, Any], hidden: int, problems: Problems) -> int:
    """Return the parameters of a SigLIP encoder and its projection (Gemma 3)."""
    values = config.get("vision_config")
    if values is None:
        return 0
    if not isinstance(values, dict):
        problems.broken("'vision_config' must be a JSON object", values)
        return 0
    number = _Numbers(values, problems, "vision_config.")
    layers = number("num_hidden_layers", LIMITS["layers"])
    width, inner, patch, image = (
        number(key)
        for key in ("hidden_size", "intermediate_size", "patch_size", "image_size")
    )
    patches = 3 * patch**2 * width + (image // patch) ** 2 * width
    blocks = layers * (4 * width**2 + 2 * width * inner)
    return patches + blocks + width * hidden
