"""Tests of what the files of a model say: its shapes, its format and its bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint, computed_weight_bytes
from eks_inference.planning.catalogue import checkpoint
from eks_inference.planning.config_json import read_architecture
from eks_inference.planning.hugging_face import read_checkpoint
from eks_inference.quantization import Quantization
from tests.library.conftest import BadInputs, refusal
from tests.library.hf_configs import (
    CONFIGS,
    config,
    mistral,
    write_config,
    write_index,
    write_safetensors,
)
from tests.library.hf_problems import AWQ, CONFIG_PROBLEMS

MISTRAL_BYTES = 14_483_464_192


def architecture(repository: str, **changes: Any) -> Architecture:
    """Return the architecture of a known configuration with some fields changed."""
    return read_architecture(config(repository, **changes))


def read(directory: Path, content: Any, **arguments: Any) -> Checkpoint:
    """Write a ``config.json`` and return what its directory says."""
    return read_checkpoint(write_config(directory, content), **arguments)


@pytest.mark.parametrize("repository", CONFIGS)
def test_parameters_are_those_that_are_published(repository: str) -> None:
    """Each family's parameters follow from its configuration, within 0.05 %."""
    _, published = CONFIGS[repository]
    assert architecture(repository).parameters == pytest.approx(published, rel=5e-4)


@pytest.mark.parametrize(
    ("repository", "active"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 12.9e9),
        ("Qwen/Qwen3-30B-A3B", 3.35e9),
        ("deepseek-ai/DeepSeek-V2", 21.4e9),
        ("deepseek-ai/DeepSeek-V3", 37.6e9),
    ],
)
def test_a_token_uses_some_experts(repository: str, active: float) -> None:
    """Active parameters are those of the papers, input embeddings included."""
    assert architecture(repository).active_parameters == pytest.approx(active, rel=5e-3)


def test_gpt_oss_reads_what_its_card_says() -> None:
    """OpenAI counts 3.61 billion active parameters, without the input embeddings."""
    model = architecture("openai/gpt-oss-20b")
    assert model.streamed_parameters == pytest.approx(3.61e9, rel=5e-3)


def test_mistral_is_read_field_by_field() -> None:
    """Every field of the architecture comes from its field of the file."""
    assert read_architecture(mistral()) == Architecture(
        name="MistralForCausalLM",
        layers=32,
        hidden_size=4096,
        attention_heads=32,
        kv_heads=8,
        head_size=128,
        vocabulary=32_000,
        context=32_768,
        parameters=7_241_465_856,
    )


def test_the_catalogue_is_what_the_files_say(tmp_path: Path) -> None:
    """The same numbers come from a file and from the catalogue."""
    found = read(tmp_path, mistral(quantization_config=AWQ, torch_dtype="float16"))
    known = checkpoint("mistral-7b-awq")
    assert found.architecture == known.architecture
    assert found.weight_bytes == known.weight_bytes
    assert found.dtype == known.dtype


@pytest.mark.parametrize(
    ("repository", "changes", "windows"),
    [
        ("google/gemma-2-9b-it", {}, (21, 4096)),
        ("google/gemma-3-12b-it", {}, (40, 1024)),
        ("openai/gpt-oss-20b", {}, (12, 128)),
        ("openai/gpt-oss-20b", {"sliding_window": ...}, (12, 128)),
        ("microsoft/Phi-3-mini-4k-instruct", {}, (32, 2047)),
        ("mistralai/Mistral-7B-Instruct-v0.2", {}, (0, 0)),
        ("mistralai/Mistral-7B-Instruct-v0.2", {"sliding_window": 4096}, (32, 4096)),
        ("mistralai/Mistral-7B-Instruct-v0.2", {"sliding_window": ...}, (32, 4096)),
        ("Qwen/Qwen2.5-7B-Instruct", {}, (0, 0)),
        (
            "Qwen/Qwen2.5-7B-Instruct",
            {"use_sliding_window": True, "max_window_layers": 21},
            (7, 131_072),
        ),
        (
            "google/gemma-2-9b-it",
            {"layer_types": ["sliding_attention"] * 5 + ["full_attention"] * 37},
            (5, 4096),
        ),
        ("meta-llama/Llama-3.1-8B-Instruct", {"sliding_window": 4096}, (0, 0)),
    ],
)
def test_windowed_layers_follow_the_family(
    repository: str, changes: dict[str, Any], windows: tuple[int, int]
) -> None:
    """What the file says counts, else the pattern of the family."""
    model = architecture(repository, **changes)
    assert (model.windowed_layers, model.window) == windows


def test_latent_attention_caches_a_latent() -> None:
    """DeepSeek's cache holds 512 + 64 elements, its heads have 128 + 64."""
    model = architecture("deepseek-ai/DeepSeek-V3")
    assert (model.latent_size, model.head_size) == (576, 192)


def test_an_image_encoder_is_counted_apart() -> None:
    """Gemma 3's encoder takes memory, but a token of text does not use it."""
    model = architecture("google/gemma-3-12b-it")
    assert model.vision_parameters == pytest.approx(0.42e9, rel=0.01)
    assert model.streamed_parameters == model.parameters - model.vision_parameters


def test_layers_without_experts_are_counted() -> None:
    """Qwen's sparse step and list of dense layers make layers dense."""
    every = architecture("Qwen/Qwen3-30B-A3B")
    second = architecture("Qwen/Qwen3-30B-A3B", decoder_sparse_step=2)
    named = architecture("Qwen/Qwen3-30B-A3B", mlp_only_layers=list(range(0, 48, 2)))
    assert second.parameters == named.parameters < every.parameters * 0.6


@pytest.mark.parametrize(
    ("scheme", "quantization"),
    [
        (None, Quantization.NONE),
        (AWQ, Quantization.AWQ),
        ({"quant_method": "gptq", "bits": 4}, Quantization.GPTQ),
        ({"quant_method": "fp8"}, Quantization.FP8),
        ({"quant_method": "fbgemm_fp8"}, Quantization.FP8),
        *(
            (
                {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": weights}},
                },
                quantization,
            )
            for weights, quantization in (
                ({"type": "float", "num_bits": 8}, Quantization.FP8),
                ({"type": "int", "num_bits": 8}, Quantization.INT8),
                ({"type": "int", "num_bits": 4, "group_size": 128}, Quantization.GPTQ),
            )
        ),
    ],
)
def test_the_format_is_read(
    tmp_path: Path, scheme: object, quantization: Quantization
) -> None:
    """Each format that vLLM distinguishes is recognized, and decides the bytes."""
    found = read(tmp_path, mistral(quantization_config=scheme))
    assert found.quantization is quantization
    assert found.weight_bytes == computed_weight_bytes(found.architecture, quantization)


@pytest.mark.parametrize(
    ("name", "quantization", "gigabytes"),
    [
        ("mistral-7b", Quantization.AWQ, 4.15),
        ("llama-2-70b", Quantization.AWQ, 36.6),
        ("llama-3.1-70b", Quantization.AWQ, 39.77),
        ("qwen2.5-7b", Quantization.AWQ, 5.57),
        ("llama-3.1-8b", Quantization.FP8, 9.08),
        ("gpt-oss-20b", Quantization.MXFP4, 13.76),
    ],
)
def test_computed_bytes_are_those_of_repositories(
    name: str, quantization: Quantization, gigabytes: float
) -> None:
    """What the parameters give is within 0.2 % of quantized repositories."""
    found = computed_weight_bytes(checkpoint(name).architecture, quantization)
    assert found / 1e9 == pytest.approx(gigabytes, rel=2e-3)


def test_an_image_encoder_keeps_its_bits() -> None:
    """What only images use stays at 16 bits, as embeddings do."""
    model = checkpoint("gemma-3-12b").architecture
    whole = model.vision_parameters + model.embedding_parameters
    found = computed_weight_bytes(model, Quantization.FP8)
    assert found == 2 * whole + (model.parameters - whole)


def test_without_weights_the_bytes_are_computed(tmp_path: Path) -> None:
    """A configuration alone is enough, and the source says so."""
    directory = write_config(tmp_path / "mistral", mistral(quantization_config=AWQ))
    for path in (directory, directory / "config.json", str(directory)):
        found = read_checkpoint(path)
        assert found.name == "mistral"
        assert found.weights_gb == pytest.approx(4.15, rel=1e-3)
        assert found.files is None
        assert found.source == (
            "config.json of mistral; bytes computed from the parameters, with "
            "embeddings at 16 bits"
        )


def test_headers_give_exact_bytes(tmp_path: Path) -> None:
    """The bytes of all tensors of all files are added, and the files counted."""
    write_safetensors(tmp_path / "a.safetensors", {"x": ("BF16", MISTRAL_BYTES - 64)})
    write_safetensors(tmp_path / "b.safetensors", {"y": ("BF16", 60), "z": ("I8", 4)})
    found = read(tmp_path, mistral(), name="mine")
    assert (found.weight_bytes, found.files) == (MISTRAL_BYTES, 2)
    assert found.source == "config.json of mine; headers of 2 safetensors"


def test_a_second_copy_is_not_counted(tmp_path: Path) -> None:
    """Mistral's repositories hold the weights in their own layout, too."""
    for name in ("consolidated.safetensors", "model.safetensors"):
        write_safetensors(tmp_path / name, {"x": ("BF16", MISTRAL_BYTES)})
    assert read(tmp_path, mistral()).weight_bytes == MISTRAL_BYTES


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    """A file that the index does not list is not loaded, and not counted."""
    for name in ("model-1.safetensors", "adapter.safetensors"):
        write_safetensors(tmp_path / name, {"x": ("BF16", MISTRAL_BYTES)})
    write_index(tmp_path, MISTRAL_BYTES, "model-1.safetensors")
    found = read(tmp_path, mistral())
    assert (found.weight_bytes, found.files) == (MISTRAL_BYTES, 1)


def test_an_index_alone_gives_the_bytes(tmp_path: Path) -> None:
    """Without the files, the index has the bytes and the number of files."""
    write_index(tmp_path, MISTRAL_BYTES, "1.safetensors", "2.safetensors")
    found = read(tmp_path, mistral(), name="mine")
    assert (found.weight_bytes, found.files) == (MISTRAL_BYTES, 2)
    assert found.source == "config.json of mine; bytes of the index"


def test_known_bytes_are_taken_as_given(tmp_path: Path) -> None:
    """Bytes that are passed are not looked for in files."""
    (tmp_path / "broken.safetensors").write_bytes(b"?")
    found = read(tmp_path, mistral(), name="mine", weight_bytes=14_000_000_000)
    assert found.weight_bytes == 14_000_000_000
    assert found.source == "config.json of mine; bytes as given"


def test_weights_that_vllm_does_not_load_are_believed(tmp_path: Path) -> None:
    """DeepSeek V3's repository holds a prediction layer, 2 % more than the model."""
    content = config("deepseek-ai/DeepSeek-V3")
    found = read(tmp_path, content, weight_bytes=688_586_727_753)
    assert found.quantization is Quantization.FP8
    assert found.weights_gb == pytest.approx(688.6, rel=1e-4)


def test_float32_counts_as_what_vllm_makes_of_it(tmp_path: Path) -> None:
    """vLLM casts float32 to 16 bits: half of the file, from headers and index."""
    content = mistral(torch_dtype="float32")
    write_index(tmp_path, 2 * MISTRAL_BYTES, "m.safetensors")
    found = read(tmp_path, content, name="mine")
    assert (found.weight_bytes, found.dtype) == (MISTRAL_BYTES, "bfloat16")
    assert found.source.endswith("; bytes of the index; float32 counts as 16 bits")
    write_safetensors(tmp_path / "m.safetensors", {"x": ("F32", 2 * MISTRAL_BYTES)})
    assert read(tmp_path, content).weight_bytes == MISTRAL_BYTES


def test_scales_in_float32_stay(tmp_path: Path) -> None:
    """Of quantized weights nothing is halved."""
    write_safetensors(
        tmp_path / "m.safetensors",
        {"x": ("F8_E4M3", 7_500_000_000), "scale": ("F32", 400)},
    )
    found = read(tmp_path, mistral(quantization_config={"quant_method": "fp8"}))
    assert found.weight_bytes == 7_500_000_400


def test_a_tied_table_may_be_stored_twice(tmp_path: Path) -> None:
    """A small model's checkpoint with its tied table stored twice is believed."""
    content = config(
        "Qwen/Qwen2.5-7B-Instruct",
        hidden_size=896,
        intermediate_size=4864,
        num_attention_heads=14,
        num_hidden_layers=24,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        vocab_size=151_936,
        quantization_config=AWQ,
    )
    assert read(tmp_path, content, weight_bytes=730_000_000).files is None


@pytest.mark.parametrize(("changes", "problems"), CONFIG_PROBLEMS)
def test_fails_when_a_configuration_is_wrong(
    tmp_path: Path, changes: dict[str, Any], problems: list[str]
) -> None:
    """All problems of a file are named at once, with field, rule, value and repair."""
    message = refusal(lambda: read(tmp_path / "m", mistral(**changes)))
    assert message.splitlines() == [f"checkpoint 'm': {item}" for item in problems]


@pytest.mark.parametrize(
    ("repository", "changes", "problem"),
    [
        (
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            {"num_experts_per_tok": 9},
            "'num_experts_per_tok' must be at most 'num_local_experts' (8), got 9",
        ),
        (
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            {"intermediate_size": ...},
            "'intermediate_size' must be a whole number, got None; add it to the file",
        ),
        (
            "Qwen/Qwen3-30B-A3B",
            {"mlp_only_layers": 3},
            "'mlp_only_layers' must be a list or tuple, got 3; put it in brackets",
        ),
        (
            "deepseek-ai/DeepSeek-V3",
            {"kv_lora_rank": 0},
            "'kv_lora_rank' must be 1 to 1000000, got 0",
        ),
        (
            "google/gemma-3-12b-it",
            {
                "vision_config": {
                    "hidden_size": 1152,
                    "image_size": 896,
                    "intermediate_size": 4304,
                    "num_hidden_layers": 27,
                }
            },
            (
                "'vision_config.patch_size' must be a whole number, got None; add it "
                "to the file"
            ),
        ),
    ],
)
def test_fails_when_a_field_of_a_family_is_wrong(
    repository: str, changes: dict[str, Any], problem: str
) -> None:
    """Fields that only some families have are checked like the others."""
    message = refusal(lambda: architecture(repository, **changes))
    assert message == f"config.json: {problem}"


def test_fails_when_the_heads_do_not_fit(tmp_path: Path) -> None:
    """A rule between fields is the architecture's own, and named so."""
    message = refusal(lambda: read(tmp_path, mistral(num_key_value_heads=5)))
    assert message == (
        "architecture 'MistralForCausalLM': 'kv_heads' must divide 'attention_heads' "
        "(32), got 5"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be JSON, got 'Expecting value: line 1 column 1 (char 0)'"),
        (
            "{",
            (
                "must be JSON, got 'Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)'"
            ),
        ),
        ("[1]", "must hold a JSON object that is not empty, got 'list'"),
        ("null", "must hold a JSON object that is not empty, got 'NoneType'"),
        ("{}", "must hold a JSON object that is not empty, got 'dict'"),
    ],
)
def test_fails_when_the_file_is_no_configuration(
    tmp_path: Path, text: str, problem: str
) -> None:
    """What is not a JSON object is refused in one line."""
    message = refusal(lambda: read(tmp_path / "m", text))
    assert message == f"checkpoint 'm': 'config.json' {problem}; download it again"


def test_fails_when_nothing_is_there(tmp_path: Path) -> None:
    """A directory without a configuration, and a path that is none, are refused."""
    repair = "download it from the model's repository"
    assert refusal(lambda: read_checkpoint(tmp_path, name="m")) == (
        "checkpoint 'm': 'config.json' must be a file that can be read, got 'No such "
        f"file or directory'; {repair}"
    )
    missing = tmp_path / "nowhere" / "config.json"
    assert refusal(lambda: read_checkpoint(missing)) == (
        "checkpoint 'nowhere': 'config.json' must be a file that can be read, got 'No "
        f"such file or directory'; {repair}"
    )
    assert refusal(lambda: read_checkpoint("a\0b", name="m")) == (
        "checkpoint 'm': 'a\0b' must be a file that can be read, got 'embedded null "
        f"byte'; {repair}"
    )
    long = "x" * 5000
    assert refusal(lambda: read_checkpoint(long, name="m")).endswith(
        f"must be a file that can be read, got 'File name too long'; {repair}"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": ""}, "'path' must be a path, got ''"),
        ({"path": None}, "'path' must be a path, got None"),
        ({"path": b"m"}, "'path' must be a path, got b'm'"),
        ({"name": ""}, "'name' must be a text that is not empty, got ''"),
        ({"weight_bytes": 0}, "'weight_bytes' must be at least 1, got 0"),
        (
            {"weight_bytes": 4.15},
            "'weight_bytes' must be a whole number, got 4.15",
        ),
    ],
)
def test_fails_when_an_argument_is_wrong(
    arguments: dict[str, Any], message: str
) -> None:
    """Arguments are checked before a file is read."""
    values: dict[str, Any] = {"path": "nowhere", **arguments}
    assert refusal(lambda: read_checkpoint(**values)) == message


@pytest.mark.parametrize("content", [[], None, "config.json", 7])
def test_fails_when_the_content_is_no_mapping(content: Any) -> None:
    """What is not a mapping is refused, and that there is no class in it, too."""
    first, second = refusal(lambda: read_architecture(content)).splitlines()
    assert first == (
        f"config.json: it must be a mapping, got {type(content).__name__!r}"
    )
    assert second.startswith("config.json: 'architectures' must be one of")


AGAIN = "download it again"
START = (
    "must start with the length of its header, at most 100000000 and within the file "
    "({} bytes), got {}"
)
NO_OBJECT = f"must hold a JSON object that is not empty, got 'list'; {AGAIN}"
INDEX = "'model.safetensors.index.json'"
HEADER = b'{"x":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}'


def stored(header: bytes, tensors: bytes = b"") -> bytes:
    """Return the content of a file with a header."""
    return len(header).to_bytes(8, "little") + header + tensors


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"abc",
            START.format(3, 6513249),
        ),
        (
            b"",
            START.format(0, 0),
        ),
        (
            (2**63).to_bytes(8, "little") + HEADER,
            START.format(61, 2**63),
        ),
        (
            stored(HEADER)[:-1],
            START.format(60, 53),
        ),
        (stored(HEADER), "must hold 4 bytes of tensors, as its header says, got 0"),
        (stored(b"[]"), "must hold a JSON object that is not empty, got 'list'"),
        (
            stored(b"nope"),
            "must be JSON, got 'Expecting value: line 1 column 1 (char 0)'",
        ),
    ],
)
def test_fails_when_a_file_of_weights_is_broken(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """A download that broke off, or another kind of file, is refused in one line."""
    (tmp_path / "x.safetensors").write_bytes(content)
    message = refusal(lambda: read(tmp_path, mistral(), name="m"))
    assert message == f"checkpoint 'm': 'x.safetensors' {problem}; {AGAIN}"


@pytest.mark.parametrize(
    "entry",
    [3, {}, *({"data_offsets": item} for item in (4, [4], [4, 0], ["0", 4], [-4, 0]))],
)
def test_fails_when_offsets_make_no_sense(tmp_path: Path, entry: object) -> None:
    """A tensor without a beginning and an end has no size."""
    header = json.dumps({"x": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(stored(header, b"abcd"))
    message = refusal(lambda: read(tmp_path, mistral(), name="m"))
    assert message == (
        "checkpoint 'm': 'data_offsets' of 'x' in 'x.safetensors' must be two whole "
        f"numbers in order; {AGAIN}"
    )


def test_fails_when_every_file_is_broken(tmp_path: Path) -> None:
    """Problems of the configuration and of each file of weights come together."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(stored(b"[]"))
    content = mistral(num_hidden_layers=0)
    message = refusal(lambda: read(tmp_path, content, name="m"))
    assert message.splitlines() == [
        "checkpoint 'm': 'num_hidden_layers' must be 1 to 1000, got 0",
        f"checkpoint 'm': 'a.safetensors' {NO_OBJECT}",
        f"checkpoint 'm': 'b.safetensors' {NO_OBJECT}",
    ]


def test_fails_when_a_listed_file_is_missing(tmp_path: Path) -> None:
    """Some of the files of an index are no checkpoint."""
    write_safetensors(tmp_path / "1.safetensors", {"x": ("BF16", MISTRAL_BYTES // 3)})
    files = ("1.safetensors", "2.safetensors", "3.safetensors")
    write_index(tmp_path, MISTRAL_BYTES, *files)
    assert refusal(lambda: read(tmp_path, mistral(), name="m")) == (
        "checkpoint 'm': 'model.safetensors.index.json' must list files that are "
        "there, got \"'2.safetensors' and 1 more that are not\"; download them, or "
        "remove all safetensors to go by the index"
    )


def test_fails_when_index_and_files_disagree(tmp_path: Path) -> None:
    """Two numbers for the same bytes are both in the message."""
    write_safetensors(tmp_path / "1.safetensors", {"x": ("BF16", MISTRAL_BYTES)})
    write_index(tmp_path, 15_000_000_000, "1.safetensors")
    assert refusal(lambda: read(tmp_path, mistral(), name="m")) == (
        "checkpoint 'm': 'metadata.total_size' of 'model.safetensors.index.json' must "
        f"be the bytes of the safetensors ({MISTRAL_BYTES}), got 15000000000; "
        "download both again, or pass 'weight_bytes'"
    )


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (
            {"weight_map": {"x": "1.safetensors"}},
            [
                f"'metadata.total_size' must be a number, got None; {AGAIN}",
            ],
        ),
        (
            {"metadata": {"total_size": -1}, "weight_map": ["1.safetensors"]},
            [
                f"'metadata.total_size' must be 1 to 1000000000000000, got -1; {AGAIN}",
                f"'weight_map' of {INDEX} must map tensors to files; {AGAIN}",
            ],
        ),
        (
            [],
            [f"{INDEX} {NO_OBJECT}"],
        ),
    ],
)
def test_fails_when_the_index_is_broken(
    tmp_path: Path, content: object, problems: list[str]
) -> None:
    """An index needs a total and a list of files."""
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(content))
    message = refusal(lambda: read(tmp_path, mistral(), name="m"))
    assert message.splitlines() == [f"checkpoint 'm': {item}" for item in problems]


@pytest.mark.parametrize(
    ("quantization", "weight_bytes", "expected", "got"),
    [
        (
            None,
            40_000_000_000,
            "14.5 GB, which 7.24 billion parameters take as 'none'",
            "40 GB",
        ),
        (
            None,
            4_150_000_000,
            "14.5 GB, which 7.24 billion parameters take as 'none'",
            "4.15 GB",
        ),
        (
            AWQ,
            7_500_000_000,
            "4.15 GB, which 7.24 billion parameters take as 'awq'",
            "7.5 GB",
        ),
    ],
)
def test_fails_when_weights_contradict_the_parameters(
    tmp_path: Path, quantization: object, weight_bytes: int, expected: str, got: str
) -> None:
    """A 7B model of 40 GB, or 16 bits in the bytes of four, is another model."""
    content = mistral(quantization_config=quantization)
    message = refusal(
        lambda: read(tmp_path, content, name="m", weight_bytes=weight_bytes)
    )
    assert message == (
        f"checkpoint 'm': 'weight_bytes' must be about {expected}, got {got!r}; "
        "correct 'parameters' or 'quantization', or count the weights of this model "
        "only"
    )


BAD: BadInputs = [
    ({"name": ""}, "'name' must be a text that is not empty, got ''"),
    (
        {"weight_bytes": 0},
        "'weight_bytes' must be 1 to 1000000000000000, got 0",
    ),
    (
        {"weight_bytes": 1.4e10},
        "'weight_bytes' must be a whole number, got 14000000000.0",
    ),
    (
        {"dtype": "float32"},
        "'dtype' must be one of 'float16', 'bfloat16', got 'float32'",
    ),
    ({"files": 0}, "'files' must be at least 1, got 0"),
    ({"source": None}, "'source' must be a text, got None"),
    (
        {"architecture": "mistral"},
        "'architecture' must be of class Architecture, got 'mistral'",
    ),
    (
        {"quantization": "awq"},
        "'quantization' must be of class Quantization, got 'awq'",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: dict[str, Any], message: str
) -> None:
    """A checkpoint that is given by hand is checked like one that is read."""
    values = {
        "name": "m",
        "architecture": checkpoint("mistral-7b").architecture,
        "weight_bytes": MISTRAL_BYTES,
        **changes,
    }
    assert refusal(lambda: Checkpoint(**values)) == (
        f"checkpoint {values['name']!r}: {message}"
    )


def test_fails_when_bytes_are_computed_of_nothing() -> None:
    """Without an architecture there is nothing to compute from."""
    wrong: Any = None
    message = refusal(
        lambda: Checkpoint.computed(name="m", architecture=wrong, quantization=wrong)
    )
    assert message.splitlines() == [
        "checkpoint 'm': 'architecture' must be of class Architecture, got None",
        "checkpoint 'm': 'quantization' must be of class Quantization, got None",
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([1, 8, 4096, "awq", "float32", "sliding_attention"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = sorted({key for name in CONFIGS for key in config(name)} | {"layer_types"})
ANYWHERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def accepts_or_refuses(directory: Path, text: str) -> None:
    """Read a configuration; nothing but the library's own error may come out."""
    problems: tuple[str, ...] = ()
    try:
        assert read(directory, text).weight_bytes > 0
    except ConfigurationError as error:
        problems = error.problems
    assert all(item and "\n" not in item for item in problems)


@ANYWHERE
@given(JSON)
def test_any_json_is_accepted_or_refused(tmp_path: Path, value: Any) -> None:
    """Whatever a file holds, a checkpoint or the library's own error comes out."""
    accepts_or_refuses(tmp_path, json.dumps(value))


@ANYWHERE
@given(st.sampled_from(sorted(CONFIGS)), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_field_is_accepted_or_refused(
    tmp_path: Path, repository: str, changes: dict[str, Any]
) -> None:
    """Whatever single fields hold, nothing else comes out either."""
    accepts_or_refuses(tmp_path, json.dumps(config(repository, **changes)))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"x": ' + "9" * 5000 + "}", "\udcff"])
def test_text_that_breaks_parsers_is_refused(tmp_path: Path, text: str) -> None:
    """Depth, digits and encodings that Python refuses are refused in our words."""
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    message = refusal(lambda: read_checkpoint(tmp_path, name="m"))
    assert message.startswith("checkpoint 'm': 'config.json' must be JSON, got")


@pytest.mark.parametrize("depth", [51, 900])
def test_deep_values_are_refused(tmp_path: Path, depth: int) -> None:
    """A value so deep that Python could not even print it is not printed."""
    deep = json.dumps(mistral(hidden_size=0)).replace(
        '"hidden_size": 0', f'"hidden_size": {"[" * depth}{"]" * depth}'
    )
    message = refusal(lambda: read(tmp_path, deep, name="m"))
    assert message == (
        "checkpoint 'm': 'config.json' must nest at most 50 levels; download it again"
    )


@ANYWHERE
@given(
    st.binary(max_size=40) | JSON.map(lambda item: stored(json.dumps(item).encode()))
)
def test_any_weights_are_accepted_or_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever a file of weights holds, nothing else comes out either."""
    (tmp_path / "x.safetensors").write_bytes(content)
    accepts_or_refuses(tmp_path, json.dumps(mistral()))
