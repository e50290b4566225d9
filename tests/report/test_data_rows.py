"""Rows on a page and in pieces: nothing is lost, nothing becomes markup, and a real browser filters them."""

import html
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from factories import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xtune.data.types import IGNORED, Origin, Sequence
from xtune.demo.bundled import bundled_path
from xtune.report.lengths import histogram
from xtune.report.pieces import Reader, ShownRow
from xtune.report.rows_page import Page, cards_html, page_html
from xtune.shown import visible

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@cache
def demo() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(bundled_path("bundled:demo"))


@cache
def sentencepiece() -> PreTrainedTokenizerBase:
    """In the manner of Llama 2: a space is a letter, unknown characters are spelt in bytes, the first space is taken off."""
    letters = ["▁", *"abcdefgnrstu\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    names = ["<unk>", "<|im_start|>", "<|im_end|>", *letters]
    model = models.BPE(
        vocab={name: place for place, name in enumerate(names)},
        merges=[],
        unk_token="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(names[:3])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def sequence(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    weight: float = 1.0,
    source: str = "a.jsonl",
    row: int = 0,
) -> Sequence:
    """A row whose second half is trained on."""
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)
    weights = np.where(np.arange(len(ids)) >= len(ids) // 2, np.float32(weight), np.float32(0))
    labels = np.where(weights > 0, ids, IGNORED)
    return Sequence(
        input_ids=ids,
        labels=labels,
        weights=weights,
        origin=Origin(source=source, row=row, line=row + 1),
    )


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=60), st.sampled_from(["bytes", "demo", "sentencepiece"]))
def test_the_pieces_of_a_row_are_its_text_and_its_tokens(text: str, which: str) -> None:
    tokenizer = {"demo": demo, "bytes": make_tokenizer, "sentencepiece": sentencepiece}[which]()
    encoded = sequence(tokenizer, f"<|im_start|>{text}<|im_end|>\nกา🎉")
    pieces = list(Reader(tokenizer).pieces(encoded))
    assert "".join(piece.text for piece in pieces) == tokenizer.decode(encoded.input_ids.tolist())
    assert [token for piece in pieces for token in piece.ids] == encoded.input_ids.tolist()
    assert [piece.start for piece in pieces] == [
        sum(len(before.ids) for before in pieces[:place]) for place in range(len(pieces))
    ]
    special = {tokenizer.convert_tokens_to_ids(name) for name in ("<|im_start|>", "<|im_end|>")}
    for piece in pieces:
        assert piece.special or not special & set(piece.ids)


def test_a_row_that_is_cut_inside_of_a_character_is_still_shown() -> None:
    whole = sequence(make_tokenizer(), "ab🎉")
    cut = Sequence(
        input_ids=whole.input_ids[:4],
        labels=whole.labels[:4],
        weights=whole.weights[:4],
        origin=whole.origin,
    )
    pieces = list(Reader(make_tokenizer()).pieces(cut))
    assert [(piece.text[0], len(piece.ids)) for piece in pieces] == [
        ("a", 1),
        ("b", 1),
        ("\ufffd", 2),
    ]


@given(st.text())
def test_nothing_visible_acts_on_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_a_histogram_counts_every_length_once(lengths: list[int]) -> None:
    found = histogram(np.array(lengths))
    assert found is not None
    for one in found.to_json():
        inside = sum(one["from"] <= length <= one["to"] for length in lengths)
        assert inside == one["rows"]
    assert sum(found.counts) == len(lengths)
    assert len(found.counts) <= 15
    bars = found.lines(80)
    longest = max(range(len(bars)), key=lambda place: found.counts[place])
    assert bars[longest].count("█") == max(bar.count("█") for bar in bars)
    assert max(map(len, bars)) <= 80


HOSTILE = (
    "</pre></script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg onload=document.title='owned'> &lt;b&gt; &amp;",
    "<!-- ]]> --> <style>*{display:none}</style>",
)


def page(texts: tuple[str, ...], **more: object) -> Page:
    tokenizer = demo()
    reader = Reader(tokenizer)
    rows = []
    for number, text in enumerate(texts):
        encoded = sequence(
            tokenizer,
            f"<|im_start|>user\n{text}<|im_end|>",
            row=number,
            source=f"<{number % 2}>.jsonl",
        )
        rows.append(ShownRow(sequence=encoded, pieces=tuple(reader.pieces(encoded)), notes=(text,)))
    told = {"title": HOSTILE[0], "heading": HOSTILE[1], "notes": HOSTILE, **more}
    lengths = histogram(np.array([len(row.sequence) for row in rows]))
    facts = (("tokens", HOSTILE[0]),)
    return Page(facts=facts, lengths=lengths, rows=tuple(rows), **told)  # type: ignore[arg-type]


def test_the_page_has_only_our_own_elements_and_fetches_nothing() -> None:
    text = page_html(page(HOSTILE))
    without_ours = re.sub(r"<(style|script)>\n.*?</\1>", "", text, flags=re.DOTALL)
    known = (
        "!doctype html head meta title body header h1 p dl div dt dd svg g rect text form input label select "
        "option output small span b main article h2 bdi pre i s"
    )
    names = set(re.findall(r"<(!?[a-zA-Z][a-zA-Z0-9]*)", without_ours))
    assert names <= set(known.split())
    assert (
        "onerror=&quot;" in text
        or "onerror=" not in without_ours.replace("&quot;", '"').split("<pre")[0]
    )
    assert not re.search(r"<[^>]*\son\w+\s*=", without_ours)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "url(" not in text
    assert "@import" not in text
    for found in re.findall(r"<pre[^>]*>(.*?)</pre>", text, flags=re.DOTALL):
        shown = html.unescape(re.sub(r"<[^>]+>", "", found))
        assert any(hostile in shown for hostile in HOSTILE)
    assert "<script" not in cards_html(page(HOSTILE))


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed: the page is not tried in a browser"
)
def test_a_real_browser_shows_filters_and_runs_nothing_of_the_data(tmp_path: Path) -> None:
    texts = (*HOSTILE, "สวัสดี ชาวโลก", "こんにちは世界", "مرحبا بالعالم", "ordinary WORDS")
    acts = """
    const say = (name, value) => document.body.setAttribute("data-" + name, value);
    const shown = () => [...document.querySelectorAll("article")].filter((card) => !card.hidden).map((card) => card.id.slice(4)).join(",");
    const set = (id, value) => { get(id).value = value; get(id).dispatchEvent(new Event("input", { bubbles: true })); };
    set("search", "words"); say("words", shown());
    set("search", "สวัสดี"); say("thai", shown());
    set("search", ""); set("source", "1"); say("source", shown());
    set("source", "");
    get("trained").click(); say("only", getComputedStyle(document.querySelector("pre .w0")).display);
    get("trained").click();
    const pre = [...document.querySelectorAll("pre")][6];
    const arabic = [...pre.querySelectorAll("i")].find((token) => /[\\u0600-\\u06ff]/.test(token.textContent));
    say("arabic", arabic.getBoundingClientRect().left > pre.getBoundingClientRect().width / 2);
    document.querySelector("article").focus();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    say("tip", get("tip").textContent);
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    say("title", document.title);
    """
    text = page_html(page(texts, title="rows"))
    file = tmp_path / "page.html"
    file.write_text(
        text.replace("</script>\n</body>", f"{acts}</script>\n</body>"), encoding="utf-8"
    )
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,900", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    body = re.search(r"<body[^>]*>", done.stdout)
    assert body is not None, done.stderr
    said = {
        name: html.unescape(value)
        for name, value in re.findall(r'data-(\w+)="([^"]*)"', body.group())
    }
    first = demo().convert_tokens_to_ids("<|im_start|>")
    assert said == {
        "words": "7",
        "thai": "4",
        "source": "1,3,5,7",
        "only": "none",
        "arabic": "true",
        "tip": f"id {first}, token 0, not trained on",
        "title": "rows",
    }
