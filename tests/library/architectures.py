"""Shapes of models that several tests compute with."""

from eks_inference.architecture import Architecture

LLAMA_8B = Architecture(
    name="LlamaForCausalLM",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_size=128,
    vocabulary=128_256,
    context=131_072,
    parameters=8_030_261_248,
)
MIXTRAL = Architecture(
    name="MixtralForCausalLM",
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_size=128,
    vocabulary=32_000,
    context=32_768,
    parameters=46_702_792_704,
    active_parameters=12_879_425_536,
)
