"""What can be wrong in a ``config.json``, each with the whole messages."""

import math
from collections.abc import Mapping
from typing import Any

AWQ = {"bits": 4, "group_size": 128, "quant_method": "awq", "version": "gemm"}
FAMILIES = ", ".join(
    f"'{name}'"
    for name in (
        *(
            f"{name}ForCausalLM"
            for name in (
                *("Llama", "Mistral", "Mixtral", "Phi3", "Qwen2", "Qwen3"),
                *("Qwen2Moe", "Qwen3Moe", "Gemma", "Gemma2", "Gemma3"),
            )
        ),
        "Gemma3ForConditionalGeneration",
        *("GptOssForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
    )
)

METHODS = "'awq', 'gptq', 'fp8', 'fbgemm_fp8', 'mxfp4', 'compressed-tensors'"

CONFIG_PROBLEMS: list[tuple[Mapping[str, Any], list[str]]] = [
    ({"num_hidden_layers": 0}, ["'num_hidden_layers' must be 1 to 1000, got 0"]),
    ({"num_hidden_layers": -32}, ["'num_hidden_layers' must be 1 to 1000, got -32"]),
    (
        {"hidden_size": "4096"},
        ["'hidden_size' must be a whole number, got '4096'"],
    ),
    (
        {"hidden_size": 10**30},
        [f"'hidden_size' must be 1 to 1000000, got {10**30}"],
    ),
    (
        {"vocab_size": ..., "intermediate_size": None},
        [
            "'vocab_size' must be a whole number, got None; add it to the file",
            "'intermediate_size' must be a whole number, got None; add it to the file",
        ],
    ),
    ({"head_dim": 0.5}, ["'head_dim' must be a whole number, got 0.5"]),
    (
        {"num_attention_heads": math.nan},
        ["'num_attention_heads' must be a whole number, got nan"],
    ),
    (
        {"tie_word_embeddings": "yes"},
        ["'tie_word_embeddings' must be True or False, got 'yes'"],
    ),
    ({"sliding_window": 0}, ["'sliding_window' must be 1 to 1000000000, got 0"]),
    (
        {"sliding_window": 9, "layer_types": "full"},
        ["'layer_types' must be a list or tuple, got 'full'; put it in brackets"],
    ),
    ({"text_config": 3}, ["'text_config' must be a JSON object, got 3"]),
    ({"vision_config": []}, ["'vision_config' must be a JSON object, got []"]),
    (
        {"torch_dtype": "float64"},
        [
            (
                "'torch_dtype' must be one of 'float16', 'bfloat16', 'float32', got "
                "'float64'"
            )
        ],
    ),
    (
        {"dtype": ["float16"]},
        ["'dtype' must be one of 'float16', 'bfloat16', 'float32', got ['float16']"],
    ),
    (
        {"quantization_config": "awq"},
        ["'quantization_config' must be a JSON object, got 'awq'"],
    ),
    (
        {"quantization_config": {**AWQ, "bits": 8}},
        ["'quantization_config.bits' must be 4 with 'awq', got 8; take another format"],
    ),
    (
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        [
            (
                f"'quantization_config.quant_method' must be one of {METHODS}, got "
                "'bitsandbytes'; vLLM runs it, but its size is not planned: take "
                "another format"
            )
        ],
    ),
    (
        {"quantization_config": {"quant_method": ["awq"]}},
        [
            (
                f"'quantization_config.quant_method' must be one of {METHODS}, got "
                "['awq']; take another format, or build the Checkpoint by hand"
            )
        ],
    ),
    (
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"type": "float", "num_bits": 4}}},
            }
        },
        [
            (
                "'quantization_config.config_groups' must have one type and number of "
                "bits of weights, of float 8, int 8, int 4, got ['float 4']; take "
                "another format, or build the Checkpoint by hand"
            )
        ],
    ),
    (
        {"architectures": ["MambaForCausalLM"], "head_dim": 128},
        [
            (
                f"'architectures' must be one of {FAMILIES}, got 'MambaForCausalLM'; "
                "build the Architecture by hand: the file gives layers, hidden_size, "
                "attention_heads, kv_heads, head_size, vocabulary, context, add "
                "parameters"
            )
        ],
    ),
    (
        {"architectures": []},
        [
            (
                f"'architectures' must be one of {FAMILIES}, got []; build the "
                "Architecture by hand: the file gives layers, hidden_size, "
                "attention_heads, kv_heads, vocabulary, context, add head_size, "
                "parameters"
            )
        ],
    ),
    (
        {"num_hidden_layers": 0, "quantization_config": 4, "torch_dtype": 1},
        [
            "'num_hidden_layers' must be 1 to 1000, got 0",
            "'quantization_config' must be a JSON object, got 4",
            "'torch_dtype' must be one of 'float16', 'bfloat16', 'float32', got 1",
        ],
    ),
]
