"""Facts of published models: what their ``config.json`` says, and their parameters."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MISTRAL = """{"architectures": ["MistralForCausalLM"], "hidden_size": 4096,
"intermediate_size": 14336, "max_position_embeddings": 32768,
"num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
"sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
"vocab_size": 32000}"""

CONFIGS: dict[str, tuple[str, int]] = {
    "mistralai/Mistral-7B-Instruct-v0.2": (MISTRAL, 7_241_732_096),
    "meta-llama/Llama-2-13b-chat-hf": (
        """{"architectures": ["LlamaForCausalLM"], "hidden_size": 5120,
        "intermediate_size": 13824, "max_position_embeddings": 4096,
        "num_attention_heads": 40, "num_hidden_layers": 40, "vocab_size": 32000,
        "torch_dtype": "float16"}""",
        13_015_864_320,
    ),
    "meta-llama/Llama-3.1-8B-Instruct": (
        """{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 131072,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "vocab_size": 128256}""",
        8_030_261_248,
    ),
    "Qwen/Qwen2.5-7B-Instruct": (
        """{"architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584,
        "intermediate_size": 18944, "max_position_embeddings": 32768,
        "max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28,
        "num_key_value_heads": 4, "sliding_window": 131072,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "use_sliding_window": false, "vocab_size": 152064}""",
        7_615_616_512,
    ),
    "Qwen/Qwen3-32B": (
        """{"architectures": ["Qwen3ForCausalLM"], "head_dim": 128,
        "hidden_size": 5120, "intermediate_size": 25600,
        "max_position_embeddings": 40960, "max_window_layers": 64,
        "num_attention_heads": 64, "num_hidden_layers": 64, "num_key_value_heads": 8,
        "sliding_window": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "use_sliding_window": false,
        "vocab_size": 151936}""",
        32_762_123_264,
    ),
    "google/gemma-7b": (
        """{"architectures": ["GemmaForCausalLM"], "head_dim": 256,
        "hidden_size": 3072, "intermediate_size": 24576,
        "max_position_embeddings": 8192, "num_attention_heads": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 16, "torch_dtype": "bfloat16",
        "vocab_size": 256000}""",
        8_537_680_896,
    ),
    "google/gemma-2-9b-it": (
        """{"architectures": ["Gemma2ForCausalLM"], "head_dim": 256,
        "hidden_size": 3584, "intermediate_size": 14336,
        "max_position_embeddings": 8192, "num_attention_heads": 16,
        "num_hidden_layers": 42, "num_key_value_heads": 8, "sliding_window": 4096,
        "torch_dtype": "bfloat16", "vocab_size": 256000}""",
        9_241_705_984,
    ),
    "google/gemma-3-12b-it": (
        """{"architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {"hidden_size": 3840, "intermediate_size": 15360,
        "model_type": "gemma3_text", "num_attention_heads": 16,
        "num_hidden_layers": 48, "num_key_value_heads": 8, "sliding_window": 1024},
        "torch_dtype": "bfloat16",
        "vision_config": {"hidden_size": 1152, "image_size": 896,
        "intermediate_size": 4304, "num_attention_heads": 16,
        "num_hidden_layers": 27, "patch_size": 14}}""",
        12_187_325_040,
    ),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": (
        """{"architectures": ["MixtralForCausalLM"], "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 32768,
        "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
        "num_key_value_heads": 8, "num_local_experts": 8, "sliding_window": null,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "vocab_size": 32000}""",
        46_702_792_704,
    ),
    "Qwen/Qwen1.5-MoE-A2.7B": (
        """{"architectures": ["Qwen2MoeForCausalLM"], "decoder_sparse_step": 1,
        "hidden_size": 2048, "intermediate_size": 5632,
        "max_position_embeddings": 8192, "moe_intermediate_size": 1408,
        "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
        "num_hidden_layers": 24, "num_key_value_heads": 16,
        "shared_expert_intermediate_size": 5632, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "use_sliding_window": false,
        "vocab_size": 151936}""",
        14_315_784_192,
    ),
    "Qwen/Qwen3-30B-A3B": (
        """{"architectures": ["Qwen3MoeForCausalLM"], "decoder_sparse_step": 1,
        "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144,
        "max_position_embeddings": 40960, "mlp_only_layers": [],
        "moe_intermediate_size": 768, "num_attention_heads": 32, "num_experts": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "use_sliding_window": false, "vocab_size": 151936}""",
        30_532_122_624,
    ),
    "deepseek-ai/DeepSeek-V2-Lite": (
        """{"architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 1,
        "hidden_size": 2048, "intermediate_size": 10944, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "moe_intermediate_size": 1408,
        "moe_layer_freq": 1, "n_routed_experts": 64, "n_shared_experts": 2,
        "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27,
        "num_key_value_heads": 16, "q_lora_rank": null, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "torch_dtype": "bfloat16", "v_head_dim": 128,
        "vocab_size": 102400}""",
        15_706_484_224,
    ),
    "deepseek-ai/DeepSeek-V2": (
        """{"architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 1,
        "hidden_size": 5120, "intermediate_size": 12288, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "moe_intermediate_size": 1536,
        "moe_layer_freq": 1, "n_routed_experts": 160, "n_shared_experts": 2,
        "num_attention_heads": 128, "num_experts_per_tok": 6, "num_hidden_layers": 60,
        "num_key_value_heads": 128, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "torch_dtype": "bfloat16", "v_head_dim": 128,
        "vocab_size": 102400}""",
        235_741_434_880,
    ),
    "deepseek-ai/DeepSeek-V3": (
        """{"architectures": ["DeepseekV3ForCausalLM"], "first_k_dense_replace": 3,
        "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "moe_intermediate_size": 2048,
        "moe_layer_freq": 1, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
        "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
        "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3",
        "quant_method": "fp8", "weight_block_size": [128, 128]},
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "v_head_dim": 128,
        "vocab_size": 129280}""",
        671_026_419_200,
    ),
    "openai/gpt-oss-20b": (
        """{"architectures": ["GptOssForCausalLM"], "head_dim": 64,
        "hidden_size": 2880, "intermediate_size": 2880,
        "max_position_embeddings": 131072, "num_attention_heads": 64,
        "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 8,
        "num_local_experts": 32, "quantization_config": {"quant_method": "mxfp4"},
        "sliding_window": 128, "tie_word_embeddings": false,
        "vocab_size": 201088}""",
        20_914_757_184,
    ),
    "microsoft/Phi-3-mini-4k-instruct": (
        """{"architectures": ["Phi3ForCausalLM"], "hidden_size": 3072,
        "intermediate_size": 8192, "max_position_embeddings": 4096,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
        "sliding_window": 2047, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "vocab_size": 32064}""",
        3_821_079_552,
    ),
}
"""Configurations by repository, with only the fields that sizes depend on, and the
published number of parameters (that of the repository's safetensors; DeepSeek-V3: of
the main model, which its README_WEIGHTS.md counts apart from the prediction layer)."""


def config(repository: str, **changes: Any) -> dict[str, Any]:
    """Return a configuration with some fields changed, or removed where ``...``."""
    values = {**json.loads(CONFIGS[repository][0]), **changes}
    return {key: value for key, value in values.items() if value is not ...}


def mistral(**changes: Any) -> dict[str, Any]:
    """Return Mistral 7B's configuration with some fields changed."""
    return config("mistralai/Mistral-7B-Instruct-v0.2", **changes)


def write_config(directory: Path, content: Any) -> Path:
    """Write a ``config.json``; return the directory."""
    directory.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (directory / "config.json").write_text(text)
    return directory


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, int]]) -> None:
    """Write a file with tensors of these types and bytes, whose content is a hole."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [], "data_offsets": [end, end + size]}
        end += size
    data = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(data)) + data)
        file.truncate(8 + len(data) + end)


def write_index(directory: Path, total: Any, *files: str) -> None:
    """Write an index of one tensor in each file."""
    content = {
        "metadata": {"total_size": total},
        "weight_map": {f"layer.{number}": name for number, name in enumerate(files)},
    }
    path = directory / "model.safetensors.index.json"
    path.write_text(json.dumps(content))
