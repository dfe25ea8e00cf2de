"""Makes a language model of random weights; runs where vLLM is installed.

    python tiny_model.py FOLDER

It answers nonsense, but it is loaded, scheduled and streamed as any other Llama.
"""

import sys

import torch  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    models,
    pre_tokenizers,
)
from transformers import (  # type: ignore[import-not-found]
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = 512


def main(folder: str) -> None:
    """Write weights, configuration and tokenizer, the same ones each time."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    words |= {f"w{number}": number for number in range(len(words), WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        # heads of 32: vLLM's kernels for CPUs know none of 16
        hidden_size=256,
        intermediate_size=512,
        # so many that computing an answer, and not reading it, takes the time
        num_hidden_layers=16,
        # divisible by every tensor-parallel size of a node
        num_attention_heads=8,
        num_key_value_heads=8,
        # as long as any model's: the length of a sequence is the arguments' business
        max_position_embeddings=1_048_576,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
