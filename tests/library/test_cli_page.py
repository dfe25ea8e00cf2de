"""Tests of a plan as a page: complete, safe, and without need of the network."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eks_inference.cli.documents import COST_NAMES, TRAFFIC_NAMES
from eks_inference.cli.main import app
from eks_inference.planning import CHECKPOINTS
from tests.library.hf_configs import mistral, write_config

VOID = {"meta", "br"}
"""Elements without an end, of those on the page."""


class Page(HTMLParser):
    """The elements of a page; complains of one that is not closed where it must be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        texts: list[str] = []
        self.elements.append((tag, dict(attrs), texts))
        if tag not in VOID:
            self._open.append((tag, texts))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def text(self, tag: str) -> str:
        """Return the text of the first element of a kind."""
        texts = next(texts for name, _, texts in self.elements if name == tag)
        return " ".join("".join(texts).split())

    def rows(self) -> list[list[str]]:
        """Return the texts of the cells of every row of every table."""
        rows: list[list[str]] = []
        for tag, _, texts in self.elements:
            if tag == "tr":
                rows.append([])
            if tag in {"td", "th"}:
                rows[-1].append(" ".join("".join(texts).split()))
        return rows

    def styles(self) -> list[dict[str, float]]:
        """Return the shares of each bar, by property."""
        return [
            {key: float(share) for key, share in re.findall(r"(\w+): ([\d.]+)%", style)}
            for _, attributes, _ in self.elements
            if (style := attributes.get("style"))
        ]


def write(path: Path, *line: str) -> tuple[str, dict[str, Any]]:
    """Return the page and the JSON of a plan."""
    place = path / "plan.html"
    result = CliRunner().invoke(app, ["plan", *line, "--json", "--html", str(place)])
    assert result.exit_code in {0, 1}, result.output
    return place.read_text(encoding="utf-8"), json.loads(result.stdout)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_page_needs_nothing_else(name: str, tmp_path: Path) -> None:
    """No address, no script, nothing loaded: the page works without a network."""
    html, _ = write(tmp_path, name)
    page = Page(html)
    assert html.startswith("<!doctype html>\n<html")
    assert not {"script", "link", "img", "iframe", "object", "base"} & {
        tag for tag, _, _ in page.elements
    }
    names = {key for _, attributes, _ in page.elements for key in attributes}
    assert not {"src", "href", "action", "srcset"} & names
    assert not [key for key in names if key.startswith("on")]
    assert not re.search(r"//|url\(|@import|javascript:", html)


@pytest.mark.parametrize(
    "line", [["mistral-7b-awq"], ["llama-3.1-70b", "--gpu", "t4"], ["qwen3-8b"]]
)
def test_bars_fill_the_memory(line: list[str], tmp_path: Path) -> None:
    """The four parts of each GPU's memory are 100 %, also of too large a model."""
    html, document = write(tmp_path, *line)
    shares = [bar["width"] for bar in Page(html).styles() if "left" not in bar]
    assert len(shares) == 4 * len(document["fit"])
    for start in range(0, len(shares), 4):
        assert sum(shares[start : start + 4]) == pytest.approx(100, abs=0.01)
    memory = document["fit"][0]["gib_per_gpu"]
    parts = max(0, memory["kv_cache"]) + memory["weights"] + memory["overhead"]
    whole = max(memory["total"], parts + memory["total"] - memory["usable"])
    assert shares[0] == pytest.approx(100 * memory["weights"] / whole, abs=0.001)
    assert f"weights {memory['weights']:.1f} GiB" in html


def test_phases_follow_each_other(tmp_path: Path) -> None:
    """Each bar of the waterfall begins where the one before ends, from 0 to 100 %."""
    html, document = write(tmp_path, "mistral-7b-awq")
    bars = [bar for bar in Page(html).styles() if "left" in bar]
    assert len(bars) == len(document["cold_start"]["phases"])
    end = 0.0
    for bar in bars:
        assert bar["left"] == pytest.approx(end, abs=0.002)
        end = bar["left"] + bar["width"]
    assert end == pytest.approx(100, abs=0.002)


@pytest.mark.parametrize("spot", [True, False])
def test_a_page_has_every_number_of_the_plan(spot: bool, tmp_path: Path) -> None:
    """Cold start, savings, cost with its arithmetic, traffic and flags are tables."""
    line = ["qwen3-8b", *(["--spot-ratio", "0.3"] if spot else [])]
    html, document = write(tmp_path, *line)
    rows = Page(html).rows()
    cost, start = document["cost"], document["cold_start"]
    for key, text in COST_NAMES.items():
        amount = cost["on_demand"][key]
        price = [f"{cost['spot'][key]['usd']:,.3f}"] if spot else []
        assert [text, f"{amount['usd']:,.3f}", *price, amount["arithmetic"]] in rows
    for key, text in TRAFFIC_NAMES.items():
        way = cost["traffic_per_month"][key]
        assert [text, f"{way['usd']:,.2f}", way["arithmetic"]] in rows
    for phase in start["phases"]:
        times = [f"{phase[key]:,.0f}" for key in ("p50_seconds", "p90_seconds")]
        (row,) = (row for row in rows if row[0] == phase["phase"])
        assert row[2:4] == times
        assert phase["bound_by"] in row[4]
    assert {saving["option"] for saving in start["savings"]} <= {row[0] for row in rows}
    tokens = document["replica"]["max_model_len"]
    assert ["--max-model-len", f"{tokens} tokens"] in rows


def test_a_page_says_why_not(tmp_path: Path) -> None:
    """A page of a misfit has its problems and what would fit."""
    html, document = write(tmp_path, "llama-3.1-70b", "--gpu", "t4")
    (fit,) = document["fit"]
    assert "Does not fit every GPU of the pool." in html
    assert "Fits every GPU" not in html
    assert fit["problems"][0] in html
    assert "<li>2 GPUs of g7e.12xlarge (rtx_pro_6000): +4.37 USD/h</li>" in html


def test_a_name_cannot_be_markup(tmp_path: Path) -> None:
    """A directory called like a script stays text, in the title too."""
    name = "<script>alert(1)<"
    place = write_config(tmp_path / name, mistral())
    html, document = write(tmp_path, str(place))
    page = Page(html)
    assert document["model"]["name"] == name
    assert "<script" not in html
    assert page.text("title") == f"{name}: plan"
    assert page.text("h1") == name


def test_a_name_cannot_be_markup_in_a_terminal(tmp_path: Path) -> None:
    """Square brackets, which Rich reads as styles, are printed as they are."""
    place = write_config(tmp_path / "[red]m", mistral())
    result = CliRunner().invoke(app, ["plan", str(place)])
    assert result.exit_code == 0
    assert result.stdout.startswith("[red]m: MistralForCausalLM")


@pytest.mark.parametrize("is_dark", [False, True])
def test_colours_can_be_read(is_dark: bool, tmp_path: Path) -> None:
    """Text has the contrast of WCAG 2.2 AA (4.5), the bars that of graphics (3)."""
    html, _ = write(tmp_path, "mistral-7b-awq")
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    ]
    assert len(schemes) == 2
    colours = {name: luminance(text) for name, text in schemes[is_dark].items()}
    for name in ("text", "soft", "good", "bad"):
        assert contrast(colours[name], colours["page"]) >= 4.5
    for name in ("weights", "overhead", "kv", "rest"):
        assert contrast(colours[name], colours["page"]) >= 3


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """Return the contrast ratio of two luminances (WCAG 2.2)."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
