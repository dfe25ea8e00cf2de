"""Traces that others have recorded, read from their files.

Every trace starts at 0 with its first request. Rows that are out of order are sorted.
Rows without a prompt or without an answer are left out and counted in a note: BurstGPT
keeps failed requests as rows with 0 response tokens. Rows that cannot be read are an
error: a trace without them would be another one.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from eks_inference._check import Problems
from eks_inference.simulation._trace_cells import UNITS, arrival_parser, tokens
from eks_inference.simulation.requests import Request
from eks_inference.simulation.trace import (
    MOST_REQUESTS,
    MOST_TOKENS,
    Trace,
    most_cached,
)

MOONCAKE_BLOCK_TOKENS = 512
"""Tokens of a block that one of Mooncake's ``hash_ids`` stands for: prompts of 6,955
and 6,472 tokens have 14 and 13 (kvcache-ai/Mooncake at 40ea55f,
FAST25-release/README.md), and so has every row of its synthetic trace."""

_LINES_NAMED = 3
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class _Format:
    """What the files of a publisher look like: columns of a header or keys of lines."""

    arrival: str
    prompt: str
    answer: str
    unit: str
    source: str


_MOONCAKE = _Format(
    "timestamp", "input_length", "output_length", "ms", "Mooncake trace (Apache-2.0)"
)
"""kvcache-ai/Mooncake at 40ea55f, FAST25-release/README.md."""

_TABLES = (
    # Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and ...2024.md: one
    # schema; those of 2024 have a time zone
    _Format(
        "TIMESTAMP",
        "ContextTokens",
        "GeneratedTokens",
        "timestamp",
        "Azure LLM inference trace (Microsoft Azure, CC-BY-4.0)",
    ),
    # HPMLL/BurstGPT, README.md; releases differ in columns that are not read here
    _Format(
        "Timestamp",
        "Request tokens",
        "Response tokens",
        "s",
        "BurstGPT (HPMLL, CC-BY-4.0)",
    ),
    # microsoft/vidur, data/processed_traces
    _Format(
        "arrived_at",
        "num_prefill_tokens",
        "num_decode_tokens",
        "s",
        "trace in the form of Vidur",
    ),
)


def read_trace(
    path: str | Path, *, name: str | None = None, limit: int | None = None
) -> Trace:
    """Return a published trace; its header says whose it is.

    Known are Azure's traces of 2023 and 2024, BurstGPT, the CSV files of Vidur, and
    Mooncake's JSON lines. ``read_csv`` reads other tables.

    Args:
        path: The file.
        name: Name of the trace. Default: the file's, without its suffix.
        limit: Most rows that are read, from the start of the file. Default: all, and
            at most 5,000,000. Azure's week of 2024 has more.

    Raises:
        ConfigurationError: The file is missing, broken or of no known form; all kinds
            of bad rows are named.
    """
    place = _checked(path, name, limit)
    with _opened(place) as lines:
        start = next((line for line in lines if line.strip()), "")
    if start.lstrip().startswith("{"):
        return read_mooncake(place, name=name, limit=limit)
    header = _header(start)
    for known in _TABLES:
        if {known.arrival, known.prompt, known.answer} <= set(header):
            return _read_table(place, known, name=name, limit=limit)
    with _problems(place) as problems:
        forms = "; ".join(
            f"{known.arrival}, {known.prompt}, {known.answer}" for known in _TABLES
        )
        problems.broken(
            f"must have a known header ({forms}) or Mooncake's JSON lines",
            _short(start.strip()),
            "use read_csv() for other tables" if start.strip() else "the file is empty",
        )
    raise AssertionError  # a problem was noted


def read_csv(
    path: str | Path,
    *,
    arrival: str,
    prompt: str,
    answer: str,
    unit: str = "s",
    name: str | None = None,
    limit: int | None = None,
) -> Trace:
    """Return a trace from a table with a header.

    Args:
        path: The file: UTF-8, columns separated by commas.
        arrival: Column of the arrival.
        prompt: Column of the prompt's tokens.
        answer: Column of the answer's tokens.
        unit: What an arrival is: a number of ``s``, ``ms``, ``us`` or ``ns``, or a
            ``timestamp`` such as ``2023-11-16 18:15:46.68`` (in UTC where it has no
            zone). Default: ``s``.
        name: Name of the trace. Default: the file's, without its suffix.
        limit: Most rows that are read, from the start of the file. Default: all, and
            at most 5,000,000.

    Raises:
        ConfigurationError: The file is missing or broken, or has no such column; all
            kinds of bad rows are named.
    """
    place = _checked(path, name, limit)
    with _problems(place) as problems:
        problems.one_of("unit", unit, UNITS)
        texts = [
            problems.text(key, value)
            for key, value in (
                ("arrival", arrival),
                ("prompt", prompt),
                ("answer", answer),
            )
        ]
        if all(texts):
            problems.unique(
                "arrival, prompt, answer",
                (arrival, prompt, answer),
                repair="name three columns",
            )
    table = _Format(arrival, prompt, answer, unit, "table with mapped columns")
    return _read_table(place, table, name=name, limit=limit)


def read_mooncake(
    path: str | Path,
    *,
    prefix_cache: bool = True,
    name: str | None = None,
    limit: int | None = None,
) -> Trace:
    """Return a trace of Mooncake: one JSON object in each line.

    The times of its conversation trace are multiples of 3 s; ``Trace.jittered(3)``
    spreads them.

    Args:
        path: The file.
        prefix_cache: Whether blocks of a prompt that an earlier request had too are
            cached tokens: what an ideal cache finds, that all replicas share, that
            has every block at once and forgets none. Default: True.
        name: Name of the trace. Default: the file's, without its suffix.
        limit: Most rows that are read, from the start of the file. Default: all, and
            at most 5,000,000.

    Raises:
        ConfigurationError: The file is missing or broken; all kinds of bad rows are
            named.
    """
    place = _checked(path, name, limit)
    with _problems(place) as problems:
        problems.flag("prefix_cache", prefix_cache)
    rows = _Rows(place, _MOONCAKE, limit)
    with _opened(place) as lines:
        rows.read(_objects(lines))
    return rows.trace(name, prefix_cache=prefix_cache)


def _read_table(
    place: Path, table: _Format, *, name: str | None, limit: int | None
) -> Trace:
    rows = _Rows(place, table, limit)
    with _opened(place) as lines:
        reader = csv.reader(lines)
        header = next((row for row in reader if any(row)), [])
        columns = [cell.strip() for cell in header]
        wanted = (table.arrival, table.prompt, table.answer)
        with _problems(place) as problems:
            for column in wanted:
                if column not in columns:
                    problems.broken(
                        f"must have a column {column!r} in its header",
                        _short(", ".join(columns)),
                        "name a column that it has",
                    )
        rows.keys = tuple(columns.index(column) for column in wanted)
        rows.read((reader.line_num, row) for row in reader if row)
    return rows.trace(name)


@dataclass(slots=True)
class _Entry:
    """A row that could be read."""

    time: float
    prompt: int
    answer: int
    blocks: Sequence[int]


@dataclass(slots=True)
class _Bad:
    """Rows that break one rule."""

    value: object
    lines: list[int] = field(default_factory=list)


class _Rows:
    """The rows of a file: read, complained about together, and made a trace.

    Args:
        place: The file.
        form: What it looks like.
        limit: Most rows that are read, or None.
    """

    def __init__(self, place: Path, form: _Format, limit: int | None) -> None:
        self.place = place
        self.form = form
        self.limit = limit
        self.keys: tuple[Any, ...] = (form.arrival, form.prompt, form.answer)
        self.entries: list[_Entry] = []
        self.cut = False
        self._bad: dict[str, _Bad] = {}

    def complain(self, rule: str, line: int, value: object) -> None:
        """Note that a line breaks a rule."""
        self._bad.setdefault(rule, _Bad(value)).lines.append(line)

    def read(self, rows: Iterable[tuple[int, Any]]) -> None:
        """Read rows, each with the number of its line, and refuse them if any is bad.

        Args:
            rows: Lists of cells, mappings, or the text of a line that is neither.
        """
        when, when_rule = arrival_parser(self.form.unit)
        prompt_rule = f"a whole number, 0 to {MOST_TOKENS:,}"
        columns: tuple[tuple[str, Any, Callable[[Any], Any], str], ...] = (
            (self.form.arrival, self.keys[0], when, when_rule),
            (self.form.prompt, self.keys[1], tokens, prompt_rule),
            (self.form.answer, self.keys[2], tokens, prompt_rule),
        )
        source = iter(rows)
        for line, row in islice(source, self.limit or MOST_REQUESTS):
            if isinstance(row, str):
                self.complain("each line must be a JSON object", line, row)
                continue
            values: list[Any] = []
            for column, key, parse, rule in columns:
                try:
                    values.append(parse(row[key]))
                except (ValueError, LookupError, TypeError, OverflowError):
                    self.complain(f"{column!r} must be {rule}", line, _cell(row, key))
            blocks = row.get("hash_ids", ()) if isinstance(row, Mapping) else ()
            if not _are_hashes(blocks):
                self.complain("'hash_ids' must be whole numbers", line, blocks)
            if len(values) == len(columns):
                time, prompt, answer = values
                self.entries.append(_Entry(time, prompt, answer, blocks))
        self.cut = next(source, None) is not None
        with _problems(self.place) as problems:
            for rule, bad in self._bad.items():
                problems.broken(
                    f"{rule} ({_named(bad.lines)})",
                    _short(bad.value),
                    "correct or remove such lines",
                )
            if self.cut and self.limit is None:
                problems.broken(
                    f"must have at most {MOST_REQUESTS:,} rows", "more", "pass 'limit'"
                )

    def trace(self, name: str | None, *, prefix_cache: bool = False) -> Trace:
        """Return the trace of the rows.

        Args:
            name: Name of the trace, or None for the file's.
            prefix_cache: Whether blocks seen before are cached. Default: False.
        """
        notes = [f"the first {self.limit:,} rows of the file"] if self.cut else []
        kept = [item for item in self.entries if item.prompt and item.answer]
        if dropped := len(self.entries) - len(kept):
            notes.append(
                f"{dropped:,} of {len(self.entries):,} rows left out: no prompt or no "
                "answer"
            )
        late = sum(b.time < a.time for a, b in pairwise(kept))
        if late:
            kept.sort(key=lambda item: item.time)
            notes.append(f"sorted by arrival: {late:,} rows came before their turn")
        span = kept[-1].time - kept[0].time if kept else 0
        with _problems(self.place) as problems:
            if not span > 0:
                problems.broken(
                    "must have requests with a prompt and an answer at two times or "
                    "more",
                    f"{len(kept)} of {len(self.entries)} rows",
                )
        times = len({item.time for item in kept})
        if 2 * times < len(kept):
            notes.append(
                f"arrivals share {times:,} times: rounded down; jittered() spreads them"
            )
        cached = _ideal_cache(kept) if prefix_cache else [0] * len(kept)
        if prefix_cache:
            prompts = sum(item.prompt for item in kept)
            notes.append(
                f"{sum(cached) / prompts:.1%} of the prompt tokens cached by an ideal "
                "prefix cache that all replicas share"
            )
        start = kept[0].time
        return Trace(
            name=name or self.place.stem,
            requests=tuple(
                Request(item.time - start, item.prompt, item.answer, found)
                for item, found in zip(kept, cached, strict=True)
            ),
            duration=span,
            source=f"{self.form.source}, file {self.place.name}",
            notes=tuple(notes),
        )


def _ideal_cache(entries: Iterable[_Entry]) -> list[int]:
    seen: set[int] = set()
    cached = []
    for item in entries:
        hits = next(
            (at for at, block in enumerate(item.blocks) if block not in seen),
            len(item.blocks),
        )
        seen.update(item.blocks)
        cached.append(min(hits * MOONCAKE_BLOCK_TOKENS, most_cached(item.prompt)))
    return cached


def _objects(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield number, value if isinstance(value, dict) else line.strip()


def _are_hashes(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(item) is int for item in value)


def _cell(row: Any, key: Any) -> object:
    try:
        return row[key]
    except LookupError:
        return None


def _named(lines: Sequence[int]) -> str:
    text = ", ".join(map(str, lines[:_LINES_NAMED]))
    if len(lines) > _LINES_NAMED:
        text += f" and {len(lines) - _LINES_NAMED:,} more"
    return f"line{'s' if len(lines) > 1 else ''} {text}"


def _short(value: object) -> object:
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= _LONGEST_VALUE:
        return value
    return text[:_LONGEST_VALUE] + "..."


def _header(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return []


def _problems(place: Path) -> Problems:
    return Problems(f"trace file '{place}'")


def _checked(path: object, name: object, limit: object) -> Path:
    with Problems() as problems:
        if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
            problems.broken("'path' must be a path", path)
        if name is not None:
            problems.text("name", name)
        if limit is not None:
            problems.integer("limit", limit, minimum=1, maximum=MOST_REQUESTS)
    return Path(str(path))


@contextmanager
def _opened(place: Path) -> Iterator[Iterator[str]]:
    """Open a text file; say what is wrong with it where it cannot be read."""
    with _problems(place) as problems:
        try:
            with place.open(encoding="utf-8-sig", newline="") as file:
                yield file
        except OSError as error:
            problems.add(f"must be a file that can be read: {error.strerror or error}")
        except UnicodeDecodeError as error:
            problems.add(
                f"must be text in UTF-8: {error.reason}; unpack it if it is compressed"
            )
        except csv.Error as error:
            problems.add(f"must be CSV: {error}")
