"""The numbers of a model's architecture that decide memory and speed."""

from dataclasses import dataclass

from eks_inference._check import Problems

LIMITS = {
    "layers": 1_000,
    "hidden_size": 1_000_000,
    "attention_heads": 10_000,
    "kv_heads": 10_000,
    "head_size": 10_000,
    "vocabulary": 10_000_000,
    "context": 1_000_000_000,
    "parameters": 100_000_000_000_000,
}
"""Largest values, assumed: far above every published model, so that what exceeds them
is a slip of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A transformer, as its ``config.json`` describes it.

    Args:
        name: Class that implements it, such as ``MistralForCausalLM``.
        layers: Transformer layers (``num_hidden_layers``).
        hidden_size: Width of the residual stream (``hidden_size``).
        attention_heads: Query heads of a layer (``num_attention_heads``).
        kv_heads: Key and value heads of a layer (``num_key_value_heads``): as many
            as query heads in multi-head attention, fewer in grouped-query attention.
        head_size: Elements of a head (``head_dim``).
        vocabulary: Tokens of the vocabulary (``vocab_size``).
        context: Longest sequence that the model was made for, in tokens
            (``max_position_embeddings``).
        parameters: Weights of the whole model, embeddings included.
        active_parameters: Weights that one token of text uses, embeddings included;
            fewer in a mixture of experts. Default: all but ``vision_parameters``.
        tied_embeddings: Whether input and output share one embedding table.
            Default: False.
        latent_size: Elements that multi-head latent attention caches per token and
            layer (``kv_lora_rank`` + ``qk_rope_head_dim``). Default: 0, heads are
            cached.
        windowed_layers: Layers whose attention looks back over ``window`` tokens
            only. Default: 0, all layers look back over the whole sequence.
        window: Tokens that they look back (``sliding_window``). Default: 0.
        vision_parameters: Weights that only images use, part of ``parameters``.
            Default: 0, a model of text.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        mistral_7b = Architecture(
            name="MistralForCausalLM",
            layers=32,
            hidden_size=4096,
            attention_heads=32,
            kv_heads=8,
            head_size=128,
            vocabulary=32_000,
            context=32_768,
            parameters=7_241_732_096,
        )
        mistral_7b.kv_bytes_per_token()  # 131072
        ```
    """

    name: str
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    parameters: int
    active_parameters: int | None = None
    tied_embeddings: bool = False
    latent_size: int = 0
    windowed_layers: int = 0
    window: int = 0
    vision_parameters: int = 0

    def __post_init__(self) -> None:
        with Problems(f"architecture {self.name!r}") as problems:
            problems.text("name", self.name)
            problems.flag("tied_embeddings", self.tied_embeddings)
            sizes = [
                problems.integer(name, getattr(self, name), minimum=1, maximum=limit)
                for name, limit in LIMITS.items()
            ]
            extras = [
                problems.integer(name, getattr(self, name), minimum=0, maximum=limit)
                for name, limit in (
                    ("latent_size", LIMITS["hidden_size"]),
                    ("window", LIMITS["context"]),
                    ("windowed_layers", LIMITS["layers"]),
                    ("vision_parameters", LIMITS["parameters"]),
                )
            ]
            # the rules between fields say nothing where a field is wrong itself
            if all(sizes + extras):
                self._check_together(problems)

    def _check_together(self, problems: Problems) -> None:
        if self.attention_heads % self.kv_heads:
            problems.broken(
                f"'kv_heads' must divide 'attention_heads' ({self.attention_heads})",
                self.kv_heads,
            )
        if self.windowed_layers > self.layers:
            problems.broken(
                f"'windowed_layers' must be at most 'layers' ({self.layers})",
                self.windowed_layers,
            )
        if bool(self.windowed_layers) != bool(self.window):
            problems.add(
                "'windowed_layers' and 'window' must be given together, got "
                f"{self.windowed_layers} and {self.window}"
            )
        text = self.parameters - self.vision_parameters
        active = text if self.active_parameters is None else self.active_parameters
        if self.active_parameters is not None and not problems.integer(
            "active_parameters", active, minimum=1
        ):
            return
        if active > text:
            problems.broken(
                "'active_parameters' must be at most 'parameters' without "
                f"'vision_parameters' ({text})",
                active,
            )
        if active <= self.embedding_parameters:
            problems.add(
                f"'parameters' must be more than the embeddings alone, 'vocabulary' x "
                f"'hidden_size' x {1 if self.tied_embeddings else 2} tables = "
                f"{self.embedding_parameters}, got {active} for text; correct one of "
                "them"
            )

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding tables, which quantization leaves at 16 bits."""
        tables = 1 if self.tied_embeddings else 2
        return tables * self.vocabulary * self.hidden_size

    @property
    def streamed_parameters(self) -> int:
        """Weights that one decoding step reads: an input embedding is looked up."""
        active = self.active_parameters or self.parameters - self.vision_parameters
        lookup = 0 if self.tied_embeddings else self.vocabulary * self.hidden_size
        return active - lookup

    def kv_bytes_per_token(
        self, *, element_bytes: float = 2, tensor_parallel: int = 1
    ) -> float:
        """Return the bytes that one token takes in the KV cache of one GPU.

        A token of which all layers keep keys and values: with ``windowed_layers``
        only the last ``window`` tokens of a sequence take as much, see ``kv_bytes``.

        Args:
            element_bytes: Bytes of a cached element; 1 with an FP8 cache. Default: 2.
            tensor_parallel: GPUs that share the model. Heads are divided among them,
                at least one on each; a latent is kept on every one. Default: 1.

        Raises:
            ConfigurationError: An argument is not a positive number.
        """
        with Problems() as problems:
            problems.number("element_bytes", element_bytes, minimum=0.1, maximum=8)
            problems.integer("tensor_parallel", tensor_parallel, minimum=1)
        if self.latent_size:
            return self.layers * self.latent_size * element_bytes
        heads = max(1.0, self.kv_heads / tensor_parallel)
        return 2 * self.layers * heads * self.head_size * element_bytes

    def kv_bytes(
        self, tokens: float, *, element_bytes: float = 2, tensor_parallel: int = 1
    ) -> float:
        """Return the bytes that one sequence takes in the KV cache of one GPU.

        Layers without a window keep all tokens, windowed layers the last ``window``:
        what vLLM's hybrid KV cache manager allocates (vllm-project/vllm at 1153c0c,
        docs/design/hybrid_kv_cache_manager.md).

        Left out, because they last a step or are small: during a prefill vLLM holds
        the tokens of the step beside the window (``SlidingWindowSpec``, at bc8282e
        vllm/v1/kv_cache_interface.py); a block is not divided; and layers are padded
        to groups of one size (Gemma 3 27B: 60 instead of 52 windowed layers). With
        ``--disable-hybrid-kv-cache-manager``, and in a vLLM that turns the manager
        off by itself, every layer keeps all tokens: use ``kv_bytes_per_token``.

        Args:
            tokens: Tokens of the sequence, prompt and answer.
            element_bytes: Bytes of a cached element; 1 with an FP8 cache. Default: 2.
            tensor_parallel: GPUs that share the model. Default: 1.

        Raises:
            ConfigurationError: An argument is not a positive number.
        """
        with Problems() as problems:
            problems.number("tokens", tokens, minimum=0)
        layer = (
            self.kv_bytes_per_token(
                element_bytes=element_bytes, tensor_parallel=tensor_parallel
            )
            / self.layers
        )
        full = self.layers - self.windowed_layers
        return layer * (full * tokens + self.windowed_layers * min(tokens, self.window))
