"""Tests of the readers of recorded traces."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.simulation.requests import Request
from eks_inference.simulation.trace import Trace
from eks_inference.simulation.trace_files import (
    read_csv,
    read_mooncake,
    read_trace,
)
from tests.library.conftest import BadInputs, bad_inputs, recorded_data, refusal

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
AZURE_2024 = (
    f"{AZURE}2024-05-10 00:00:00.009930+00:00,2162,5\n"
    "2024-05-10 00:00:01+00:00,2399,6\n"
)
MOONCAKE = (
    '{"timestamp": 0, "input_length": 1000, "output_length": 9, "hash_ids": [1, 2]}\n'
    '{"timestamp": 1500, "input_length": 1300, "output_length": 8, '
    '"hash_ids": [1, 2, 3]}\n'
    '{"timestamp": 2000, "input_length": 1000, "output_length": 7, "hash_ids": '
    "[1, 2]}\n"
    '{"timestamp": 2500, "input_length": 600, "output_length": 6, "hash_ids": [5, 2]}\n'
)

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return how a test writes its file."""

    def write(text: str, name: str = "x.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def data(path: str) -> Path:
    """Return a published trace, or skip the test where there is none."""
    return recorded_data("traces") / path


@pytest.mark.parametrize(
    ("file", "rates", "prompts", "answers"),
    [
        ("conv", (19_366, 5.53, 9.8), (1155, 1020, 4142), (211, 129, 601)),
        ("code", (8_819, 2.57, 32.7), (2048, 1469, 7436), (28, 13, 252)),
    ],
)
def test_azure_2023(
    file: str,
    rates: Sequence[float],
    prompts: Sequence[int],
    answers: Sequence[int],
) -> None:
    """The traces of Azure have the rows, the rates and the lengths of the published."""
    trace = read_trace(data(f"azure-2023/AzureLLMInferenceTrace_{file}.csv"))
    assert (len(trace.requests), round(trace.rate, 2), trace.peak_rate) == rates
    for lengths, published in (
        (trace.prompt_lengths, prompts),
        (trace.answer_lengths, answers),
    ):
        assert (round(lengths.mean), lengths.p50, lengths.p99) == published
    assert trace.notes == ()
    assert trace.source == (
        "Azure LLM inference trace (Microsoft Azure, CC-BY-4.0), file "
        f"AzureLLMInferenceTrace_{file}.csv"
    )


def test_mooncake_synthetic() -> None:
    """Mooncake's trace has its requests, and prompts that an ideal cache shortens."""
    trace = read_trace(data("mooncake/synthetic_trace.jsonl"))
    assert len(trace.requests) == 3_993
    assert round(trace.duration) == 1_022
    assert round(trace.prompt_lengths.mean) == 15_325
    assert all(request.cached_tokens % 16 == 0 for request in trace.requests)
    assert trace.notes == (
        (
            "65.1% of the prompt tokens cached by an ideal prefix cache that "
            "all replicas "
            "share"
        ),
    )


def test_azure_2024_has_zones(write: Write) -> None:
    """Times with a zone, and those without a fraction, are read too."""
    trace = read_trace(write(AZURE_2024))
    assert [request.prompt_tokens for request in trace.requests] == [2162, 2399]
    assert math.isclose(trace.requests[1].arrival, 0.99007, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("later", "seconds"),
    [
        ("2024-03-01 00:00:00", 86_400),  # 2024 is a leap year
        ("2024-02-29T00:00:00.25Z", 0.25),
        ("2024-02-29 02:00:01+02:00", 1),
        ("2024-02-28 22:30:02-0130", 2),
    ],
)
def test_times_of_the_calendar(write: Write, later: str, seconds: float) -> None:
    """Days, zones and fractions of timestamps are counted."""
    trace = read_trace(write(f"{AZURE}2024-02-29 00:00:00,1,1\n{later},1,1\n"))
    assert trace.duration == seconds


def test_failed_requests_of_burstgpt_are_left_out(write: Write) -> None:
    """Rows without an answer or a prompt are counted and left out."""
    trace = read_trace(
        write(
            f"{BURST}5,ChatGPT,472,18,490,Conversation log\n"
            "45,ChatGPT,1087,230,1317,Conversation log\n"
            "118,GPT-4,417,0,417,API log\n"
            "120,ChatGPT,0,20,20,API log\n"
        )
    )
    assert trace.requests == (Request(0, 472, 18), Request(40, 1087, 230))
    assert trace.notes == ("2 of 4 rows left out: no prompt or no answer",)
    assert trace.source == "BurstGPT (HPMLL, CC-BY-4.0), file x.csv"


def test_burstgpt_with_sessions(write: Write) -> None:
    """Other columns may stand between those that are read."""
    header = BURST.replace("Model", "Session ID,Elapsed time,Model")
    trace = read_trace(
        write(f"{header}1.5,7,0.2,GPT-4,4,5,9,API log\n2,7,0.2,GPT-4,6,7,13,API log\n")
    )
    assert trace.requests == (Request(0, 4, 5), Request(0.5, 6, 7))


def test_vidur(write: Write) -> None:
    """The tables of Vidur are read; their numbers may have a fraction of zero."""
    trace = read_trace(
        write(
            ",arrived_at,num_prefill_tokens,num_decode_tokens\n"
            "0,0.0,374.0,44\n1,4.3,396,109\n"
        )
    )
    assert trace.requests == (Request(0, 374, 44), Request(4.3, 396, 109))


def test_blocks_seen_before_are_cached(write: Write) -> None:
    """The leading blocks of a prompt that came before are cached, but not its end."""
    trace = read_mooncake(write(MOONCAKE))
    # 1,000 tokens: 62 blocks of 16 without the last token; [5, 2] does not lead
    assert [request.cached_tokens for request in trace.requests] == [0, 1024, 992, 0]
    assert trace.notes == (
        (
            "51.7% of the prompt tokens cached by an ideal prefix cache that "
            "all replicas "
            "share"
        ),
    )
    assert trace.duration == 2.5


def test_a_cache_is_not_assumed_on_request(write: Write) -> None:
    """Without the cache nothing is cached, and no note says that it is."""
    trace = read_mooncake(write(MOONCAKE), prefix_cache=False)
    assert {request.cached_tokens for request in trace.requests} == {0}
    assert trace.notes == ()


def test_rows_are_sorted(write: Write) -> None:
    """Rows that are out of order are sorted and counted."""
    trace = read_csv(
        write("t,p,a\n3,30,1\n\n1,10,1\n2,20,1\n"), arrival="t", prompt="p", answer="a"
    )
    assert trace.requests == (Request(0, 10, 1), Request(1, 20, 1), Request(2, 30, 1))
    assert trace.notes == ("sorted by arrival: 1 rows came before their turn",)


@pytest.mark.parametrize(
    ("unit", "first", "second"),
    [
        ("s", "100", "102.5"),
        ("ms", "1e5", "102500"),
        ("us", "100000000", "102500000"),
        ("ns", "100000000000", "102500000000"),
        ("timestamp", "2020-01-01 23:59:59", "2020-01-02 00:00:01.5"),
    ],
)
def test_units(write: Write, unit: str, first: str, second: str) -> None:
    """Arrivals are seconds, whatever the column counts."""
    path = write(f"a,p,t\n 7 ,10,{first}\n7,10,{second}\n")
    trace = read_csv(path, arrival="t", prompt="p", answer="a", unit=unit, name="mine")
    assert trace.requests == (Request(0, 10, 7), Request(2.5, 10, 7))
    assert trace.name == "mine"
    assert trace.source == "table with mapped columns, file x.csv"


def test_rounded_times_are_noted(write: Write) -> None:
    """A trace whose requests share times says so."""
    rows = "".join(f"{3 * (n // 5)},1,1\n" for n in range(50))
    trace = read_csv(write(f"t,p,a\n{rows}"), arrival="t", prompt="p", answer="a")
    assert trace.notes == (
        "arrivals share 10 times: rounded down; jittered() spreads them",
    )


def test_a_limit_reads_the_start(write: Write) -> None:
    """No row after the limit is read, not even a bad one."""
    text = f"{AZURE_2024}never,x,y\n"
    trace = read_trace(write(text), limit=2)
    assert len(trace.requests) == 2
    assert trace.notes == ("the first 2 rows of the file",)
    lines = read_trace(write(f"{MOONCAKE}never\n"), limit=4)
    assert lines.notes[0] == "the first 4 rows of the file"


def test_a_mark_at_the_start_is_no_text(write: Write) -> None:
    """Files that Excel wrote start with a mark of their encoding."""
    assert len(read_trace(write(f"\ufeff{AZURE_2024}")).requests) == 2


FILE = "trace file 'x.csv': "
WHEN = "'TIMESTAMP' must be a time such as '2023-11-16 18:15:46.68'"
COUNT = "must be a whole number, 0 to 10,485,760"
REPAIR = "; correct or remove such lines"
TEN_BAD = "".join("2023-11-16 18:15:46,x,1\n" for _ in range(1000))
CONTENTS: list[tuple[str, str]] = [
    (
        "",
        (
            "must have a known header (TIMESTAMP, ContextTokens, GeneratedTokens; "
            "Timestamp, Request tokens, Response tokens; arrived_at, "
            "num_prefill_tokens, "
            "num_decode_tokens) or Mooncake's JSON lines, got ''; the file is empty"
        ),
    ),
    (
        "time,tokens\n1,2\n",
        (
            "must have a known header (TIMESTAMP, ContextTokens, GeneratedTokens; "
            "Timestamp, Request tokens, Response tokens; arrived_at, "
            "num_prefill_tokens, "
            "num_decode_tokens) or Mooncake's JSON lines, got 'time,tokens'; "
            "use read_csv() for other tables"
        ),
    ),
    (
        AZURE,
        (
            "must have requests with a prompt and an answer at two times or more, got "
            "'0 of 0 rows'"
        ),
    ),
    (
        f"{AZURE}2023-11-16 18:15:46,5,1\n2023-11-16 18:15:46,5,1\n",
        (
            "must have requests with a prompt and an answer at two times or more, got "
            "'2 of 2 rows'"
        ),
    ),
    (
        f"{AZURE}2023-11-16 18:15:46,nan,1\n2023-11-16 18:15:47,-5,1.5\n",
        (
            f"'ContextTokens' {COUNT} (lines 2, 3), got 'nan'{REPAIR}\n"
            f"{FILE}'GeneratedTokens' {COUNT} (line 3), got '1.5'{REPAIR}"
        ),
    ),
    (
        f"{AZURE}{TEN_BAD}",
        f"'ContextTokens' {COUNT} (lines 2, 3, 4 and 997 more), got 'x'{REPAIR}",
    ),
    (
        f"{AZURE}2023-02-29 18:15:46,5,1\n",
        f"{WHEN} (line 2), got '2023-02-29 18:15:46'{REPAIR}",
    ),
    (
        f"{AZURE}2023-01-01 24:00:00,5,1\n2023-13-01 00:00:00,5,1\n",
        f"{WHEN} (lines 2, 3), got '2023-01-01 24:00:00'{REPAIR}",
    ),
    (
        f"{AZURE}2023-01-01 00:00:00,5\n",
        f"'GeneratedTokens' {COUNT} (line 2), got None{REPAIR}",
    ),
    (
        f"{AZURE}2023-01-01 00:00:00,{'9' * 5000},1\n",
        f"'ContextTokens' {COUNT} (line 2), got '{'9' * 60}...'{REPAIR}",
    ),
    (
        f"{BURST}nan,GPT-4,1,1,2,API log\n-1,GPT-4,1,1,2,API log\n1e999,G,1,1,2,A\n",
        (
            f"'Timestamp' must be a number of s, at least 0 (lines 2, 3, 4), got 'nan'"
            f"{REPAIR}"
        ),
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n{"timestamp": \n[]\n',
        f"each line must be a JSON object (lines 2, 3), got '{{\"timestamp\":'{REPAIR}",
    ),
    (
        '{"timestamp": true, "input_length": 0.5, "hash_ids": [1, "2"]}\n',
        (
            "'timestamp' must be a number of ms, at least 0 (line 1), got True"
            f"{REPAIR}\n{FILE}'input_length' {COUNT} (line 1), got 0.5{REPAIR}\n"
            f"{FILE}'output_length' {COUNT} (line 1), got None{REPAIR}\n"
            f"{FILE}'hash_ids' must be whole numbers (line 1), got [1, '2']{REPAIR}"
        ),
    ),
    (
        (
            f'{{"timestamp": NaN, "input_length": {{}}, "output_length": 1e400}}\n'
            f"{'[' * 100_000}\n"
        ),
        (
            "'timestamp' must be a number of ms, at least 0 (line 1), got nan"
            f"{REPAIR}\n{FILE}'input_length' {COUNT} (line 1), got {{}}{REPAIR}\n"
            f"{FILE}'output_length' {COUNT} (line 1), got inf{REPAIR}\n"
            f"{FILE}each line must be a JSON object (line 2), got "
            f"'{'[' * 60}...'{REPAIR}"
        ),
    ),
    (
        f'{AZURE}"{"x" * 200_000}",1,1\n',
        "must be CSV: field larger than field limit (131072)",
    ),
]


@pytest.mark.parametrize(("text", "message"), CONTENTS, ids=range(len(CONTENTS)))
def test_bad_files_are_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """A file with bad rows is refused with the lines, the rules and a value of each."""
    monkeypatch.chdir(write(text).parent)
    assert refusal(lambda: read_trace("x.csv")) == FILE + message


def test_files_that_are_not_text_are_refused(tmp_path: Path) -> None:
    """Missing files, directories and packed files are named, without a traceback."""
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(b"\x1f\x8b\x08\x00\xff\xff")
    for path, message in (
        (tmp_path / "no", "must be a file that can be read: No such file or directory"),
        (tmp_path, "must be a file that can be read: Is a directory"),
        (
            packed,
            "must be text in UTF-8: invalid start byte; unpack it if it is compressed",
        ),
    ):
        assert refusal(lambda path=path: read_trace(path)) == (  # type: ignore[misc]
            f"trace file '{path}': {message}"
        )


ARGUMENTS: BadInputs = [
    ({"path": None}, "'path' must be a path, got None"),
    ({"path": ""}, "'path' must be a path, got ''"),
    ({"path": "a\0b"}, "'path' must be a path, got 'a\\x00b'"),
    (
        {"name": "", "limit": 0},
        (
            "'name' must be a text that is not empty, got ''\n"
            "'limit' must be 1 to 5000000, got 0"
        ),
    ),
    (
        {"unit": "h", "prompt": None},
        (
            f"{FILE}'unit' must be one of 's', 'ms', 'us', 'ns', 'timestamp', got 'h'\n"
            f"{FILE}'prompt' must be a text that is not empty, got None"
        ),
    ),
    (
        {"prompt": "t"},
        (
            f"{FILE}'arrival, prompt, answer' must not name anything twice, got 't'; "
            "name three columns"
        ),
    ),
    (
        {"prompt": "tokens", "answer": "more"},
        (
            f"{FILE}must have a column 'tokens' in its header, got 't, p, a'; "
            f"name a column "
            f"that it has\n{FILE}must have a column 'more' in its header, got "
            f"'t, p, a'; "
            "name a column that it has"
        ),
    ),
]


@bad_inputs(ARGUMENTS)
def test_bad_arguments_are_refused(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    """Arguments that break rules are refused with all of them."""
    monkeypatch.chdir(write("t,p,a\n1,1,1\n").parent)
    arguments: dict[str, Any] = {
        "path": "x.csv",
        "arrival": "t",
        "prompt": "p",
        "answer": "a",
        **changes,
    }
    assert refusal(lambda: read_csv(**arguments)) == message


def test_a_flag_is_no_word(write: Write) -> None:
    """Whether there is a cache is True or False."""
    path = write(MOONCAKE)
    assert refusal(lambda: read_mooncake(path, prefix_cache="no")) == (  # type: ignore[arg-type]
        f"trace file '{path}': 'prefix_cache' must be True or False, got 'no'"
    )


@given(
    st.sampled_from([AZURE, BURST, "", '{"timestamp": 0, "input_length": 1, ']),
    st.text(alphabet=st.characters(codec="utf-8")) | st.text('0,."{}[]:-\n xe'),
)
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, start: str, rest: str
) -> None:
    """No text makes a reader fail in another way than with a message."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((start + rest).encode())
    try:
        trace = read_trace(path)
    except ConfigurationError:
        return
    assert isinstance(trace, Trace)
