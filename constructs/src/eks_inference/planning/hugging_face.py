"""Models as they lie on a disk: what Hugging Face files say of them.

A ``config.json`` gives the shapes of all matrices, and so the parameters; the headers
of the safetensors give the bytes. Tensors are never read.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eks_inference._check import Problems
from eks_inference.checkpoint import MOST_BYTES, Checkpoint
from eks_inference.planning.config_json import find_architecture, text_config
from eks_inference.quantization import Quantization

_HEADER_LIMIT = 100_000_000
"""Longest header in bytes that the reference reader accepts (``MAX_HEADER_SIZE``,
huggingface/safetensors at 45c8c2c, safetensors/src/tensor.rs); longest JSON here."""

_DEEPEST = 50
"""Levels of a JSON file; published ones have ten. Python cannot print a thousand."""

_DISAGREEMENT = 0.01
"""How far an index's total may be from the headers. Assumed: it counts the same bytes,
and in published repositories it is equal."""

_HALF = {"float16": "float16", "bfloat16": "bfloat16", "float32": "bfloat16"}
"""What ``--dtype auto`` makes of a checkpoint: float32 becomes the first type that the
GPU supports, bfloat16 from compute capability 8.0, else float16 (vllm-project/vllm at
18ec662, vllm/config/model.py, ``_resolve_auto_dtype``)."""

_FOUR_BITS = 4

_METHODS = {
    "awq": Quantization.AWQ,
    "gptq": Quantization.GPTQ,
    "fp8": Quantization.FP8,
    "fbgemm_fp8": Quantization.FP8,
    "mxfp4": Quantization.MXFP4,
}

_SCHEMES = {
    "float 8": Quantization.FP8,
    "int 8": Quantization.INT8,
    "int 4": Quantization.GPTQ,
}
"""Weights of compressed-tensors; four-bit integers (W4A16) are packed in groups and run
by Marlin's kernels like GPTQ's."""

_AGAIN = "download it again"

_NOT_PLANNED = ("bitsandbytes", "gguf", "modelopt", "quark", "torchao")
"""Formats that vLLM runs (its page "Quantization") and that we have no sizes for."""


def read_checkpoint(
    path: str | Path,
    *,
    name: str | None = None,
    weight_bytes: int | None = None,
) -> Checkpoint:
    """Return what the files of a model say, without reading a tensor.

    The bytes come, in this order, from ``weight_bytes``, from the headers of the
    safetensors, from the index beside them (``model.safetensors.index.json``), or
    from the parameters; ``source`` of the result says which.

    Args:
        path: A ``config.json``, or a directory with one and, where they are at hand,
            safetensors or their index.
        name: Name for tables and messages. Default: the directory's.
        weight_bytes: Bytes of the weights, where they are known and not at hand.
            Default: read or computed.

    Raises:
        ConfigurationError: A file is missing or broken, the architecture or the
            quantization is not known, or the weights contradict the parameters; all
            problems of the files are named.
    """
    _check_arguments(path, name, weight_bytes)
    place = Path(path)
    is_directory = _is_directory(place)
    file = place / "config.json" if is_directory else place
    name = name or file.absolute().parent.name or "model"
    with Problems(f"checkpoint {name!r}") as problems:
        config = _read_json(file, problems)
    with Problems(f"checkpoint {name!r}") as problems:
        architecture = find_architecture(config, problems)
        quantization = _quantization(config, problems)
        dtype = _dtype(config, problems)
        weights = None
        if weight_bytes is not None:
            weights = _Weights(weight_bytes, 0, None, "bytes as given")
        elif is_directory:
            weights = _read_weights(place, dtype, problems)
    # nothing is missing where no problem was noted
    assert architecture is not None
    source = f"config.json of {name}"
    if weights is None:
        return Checkpoint.computed(
            name=name,
            architecture=architecture,
            quantization=quantization,
            dtype=_HALF[dtype],
            source=source,
        )
    halved = weights.float32 // 2 if quantization is Quantization.NONE else 0
    source += f"; {weights.note}" + ("; float32 counts as 16 bits" if halved else "")
    return Checkpoint(
        name=name,
        architecture=architecture,
        weight_bytes=weights.total - halved,
        quantization=quantization,
        dtype=_HALF[dtype],
        files=weights.files,
        source=source,
    )


def _check_arguments(path: object, name: object, weight_bytes: object) -> None:
    with Problems() as problems:
        if not isinstance(path, str | Path) or not str(path):
            problems.broken("'path' must be a path", path)
        if name is not None:
            problems.text("name", name)
        if weight_bytes is not None:
            problems.integer("weight_bytes", weight_bytes, minimum=1)


@dataclass(frozen=True, slots=True)
class _Weights:
    """What the files of weights say: bytes, those in float32, and how many files."""

    total: int
    float32: int
    files: int | None
    note: str


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _dtype(config: Mapping[str, Any], problems: Problems) -> str:
    # a problem of the text configuration itself is noted with the architecture
    text = text_config(config, Problems())
    key = "dtype" if text.get("dtype") is not None else "torch_dtype"
    dtype = "bfloat16" if text.get(key) is None else text[key]
    return dtype if problems.one_of(key, dtype, tuple(_HALF)) else "bfloat16"


def _quantization(config: Mapping[str, Any], problems: Problems) -> Quantization:
    values = config.get("quantization_config")
    if values is None:
        return Quantization.NONE
    if not isinstance(values, dict):
        problems.broken("'quantization_config' must be a JSON object", values)
        return Quantization.NONE
    method: Any = values.get("quant_method")
    if method == "compressed-tensors":
        return _compressed_tensors(values, problems)
    if not problems.one_of(
        "quantization_config.quant_method",
        method,
        (*_METHODS, "compressed-tensors"),
        repair="vLLM runs it, but its size is not planned: take another format"
        if method in _NOT_PLANNED
        else "take another format, or build the Checkpoint by hand",
    ):
        return Quantization.NONE
    bits = values.get("bits")
    if method in {"awq", "gptq"} and bits != _FOUR_BITS:
        problems.broken(
            f"'quantization_config.bits' must be {_FOUR_BITS} with {method!r}",
            bits,
            "take another format",
        )
    return _METHODS[method]


def _compressed_tensors(values: Mapping[str, Any], problems: Problems) -> Quantization:
    """Return the format of the weights of a compressed-tensors scheme."""
    groups = values.get("config_groups")
    schemes = []
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        weights = weights if isinstance(weights, dict) else {}
        schemes.append(f"{weights.get('type')} {weights.get('num_bits')}")
    found = {_SCHEMES.get(scheme) for scheme in schemes}
    quantization = found.pop() if len(found) == 1 else None
    if quantization is None:
        problems.broken(
            "'quantization_config.config_groups' must have one type and number of bits "
            f"of weights, of {', '.join(_SCHEMES)}",
            schemes,
            "take another format, or build the Checkpoint by hand",
        )
    return quantization or Quantization.NONE


def _read_weights(directory: Path, dtype: str, problems: Problems) -> _Weights | None:
    """Return what index and headers say, or None where there is neither."""
    names = sorted(item.name for item in directory.glob("*.safetensors"))
    # Mistral's own repositories hold the weights a second time
    names = [item for item in names if not item.startswith("consolidated")] or names
    index = directory / "model.safetensors.index.json"
    total = None
    if index.exists():
        listed, total = _read_index(index, problems)
        missing = [item for item in listed if item not in names]
        if not listed:
            return None
        if len(missing) == len(listed):
            float32 = total if dtype == "float32" else 0
            return _Weights(total, float32, len(listed), "bytes of the index")
        if missing:
            problems.broken(
                f"'{index.name}' must list files that are there",
                f"{missing[0]!r} and {len(missing) - 1} more that are not",
                "download them, or remove all safetensors to go by the index",
            )
            return None
        names = listed
    if not names:
        return None
    sizes = [_read_header(directory / item, problems) for item in names]
    found, float32 = (sum(column) for column in zip(*sizes, strict=True))
    if total and found and abs(total - found) > _DISAGREEMENT * found:
        problems.broken(
            f"'metadata.total_size' of '{index.name}' must be the bytes of the "
            f"safetensors ({found})",
            total,
            "download both again, or pass 'weight_bytes'",
        )
    return _Weights(found, float32, len(names), f"headers of {len(names)} safetensors")


def _read_index(path: Path, problems: Problems) -> tuple[list[str], int]:
    """Return the files that an index lists, and the bytes of all tensors."""
    index = _read_json(path, problems)
    if not index:
        return [], 0
    files = index.get("weight_map")
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    good = problems.number(
        "metadata.total_size", total, minimum=1, maximum=MOST_BYTES, repair=_AGAIN
    )
    if not isinstance(files, dict) or not all(
        isinstance(item, str) for item in files.values()
    ):
        problems.add(
            f"'weight_map' of '{path.name}' must map tensors to files; {_AGAIN}"
        )
        return [], 0
    return sorted(set(files.values())), int(total) if good and total else 0


def _read_header(path: Path, problems: Problems) -> tuple[int, int]:
    """Return the bytes of all tensors of a file, and of those in float32.

    The format: the header's length as 8 little-endian bytes, the header as JSON, then
    the tensors (huggingface/safetensors at 45c8c2c, README.md).
    """
    nothing = 0, 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(_HEADER_LIMIT, size - 8):
                problems.add(
                    f"'{path.name}' must start with the length of its header, at most "
                    f"{_HEADER_LIMIT} and within the file ({size} bytes), got "
                    f"{length}; {_AGAIN}"
                )
                return nothing
            data = file.read(length)
    except OSError as error:
        problems.broken(f"'{path.name}' must be readable", error.strerror)
        return nothing
    total = float32 = 0
    for tensor, entry in _parse(path.name, data, problems).items():
        if tensor == "__metadata__":
            continue
        begin, end = _offsets(entry)
        if end < begin:
            problems.add(
                f"'data_offsets' of {tensor!r} in '{path.name}' must be two whole "
                f"numbers in order; {_AGAIN}"
            )
            return nothing
        total += end - begin
        float32 += end - begin if entry.get("dtype") == "F32" else 0
    if total != size - 8 - length and total:
        problems.broken(
            f"'{path.name}' must hold {total} bytes of tensors, as its header says",
            size - 8 - length,
            _AGAIN,
        )
    return total, float32


def _offsets(entry: object) -> tuple[int, int]:
    """Return where a tensor begins and ends; the end is -1 where that is not said."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    match offsets:
        case [int(begin), int(end)] if begin >= 0:
            return begin, end
    return 0, -1


def _read_json(path: Path, problems: Problems) -> dict[str, Any]:
    """Return the object in a file, or note what is wrong and return an empty one."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER_LIMIT + 1)
    except (OSError, ValueError) as error:
        problems.broken(
            f"'{path.name}' must be a file that can be read",
            getattr(error, "strerror", None) or str(error),
            "download it from the model's repository",
        )
        return {}
    if len(data) > _HEADER_LIMIT:
        problems.add(f"'{path.name}' must be at most {_HEADER_LIMIT} bytes; {_AGAIN}")
        return {}
    return _parse(path.name, data, problems)


def _parse(name: str, data: bytes, problems: Problems) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        problems.broken(f"'{name}' must be JSON", str(error), _AGAIN)
        return {}
    if not isinstance(value, dict) or not value:
        problems.broken(
            f"'{name}' must hold a JSON object that is not empty",
            type(value).__name__,
            _AGAIN,
        )
        return {}
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for item in level for inner in _inside(item)]
    if level:
        problems.add(f"'{name}' must nest at most {_DEEPEST} levels; {_AGAIN}")
        return {}
    return value


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
