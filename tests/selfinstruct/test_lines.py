"""Lines of a pool that are put together of parts are those that Python's `json` makes of whole objects."""

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfinstruct.generate.answers import Contents, Read, Reader, events_of
from selfinstruct.novelty import NoveltyPool
from selfinstruct.novelty.packed import packed, packed_for_travel, unpacked
from selfinstruct.novelty.search import NumpyNearest
from selfinstruct.pool.disk import Appender, read_line
from selfinstruct.pool.journal import FILE, Journal
from selfinstruct.pool.lines import json_text, line_of
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.rules import Rules, RuleSettings
from selfinstruct.types import Reply, Request, Usage
from xtune.text import tokenize

TEXTS = st.text() | st.text(
    alphabet=st.sampled_from(
        [*map(chr, range(0x21)), *'"\\/\x7f\x85\u2028\u2029\ufeff\U0001f600aé']
    )
)
HALVES = st.text(alphabet=st.characters(categories=["Cs", "Lu", "Nd"]))
"""Among them halves of surrogate pairs, which no file can hold."""


def line(value: object) -> bytes:
    """As `json` writes it."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


@settings(max_examples=1000, deadline=None)
@given(TEXTS | HALVES)
def test_a_text_is_written_as_json_writes_it(text: str) -> None:
    assert json_text(text) + b"\n" == line(text) == line_of(text)


@pytest.mark.parametrize("code", range(0x110000 // 0x1000))
def test_every_letter_is_written_as_json_writes_it(code: int) -> None:
    text = "".join(map(chr, range(0x1000 * code, 0x1000 * (code + 1))))
    assert json_text(text) + b"\n" == line(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(TEXTS | HALVES)))
def test_packed_tokens_are_the_same_when_unpacked(texts: list[list[str]]) -> None:
    tokens = [token for text in texts for token in text]
    assert unpacked(packed(texts, len(tokens))) == tokens


REPLY = """4. Instruction: Name \u201cthree\u201d birds of the Andes\\coast.
4. Input: <noinput>
4. Output: Condor, \ttinamou and\u2028 flamingo.
5. Instruction: Write a formal letter to your landlord about the broken heating.
5. Input: Write a formal letter to your landlord about the broken heating.
5. Output: Dear Sir, the heating in my flat does not work.
6. Instruction: Name three rivers of the north.
6. Input: <noinput>
6. Output: See https://example.org for a "list".
7. Instruction: Name \u201cthree\u201d birds of the Andes\\coast!
7. Input: <noinput>
7. Output: Condor, tinamou, flamingo and swift.
8. Instruction: Only this"""


def pool_in(folder: Path) -> LanguagePool:
    return LanguagePool(folder / "en.jsonl", NoveltyPool("en", nearest=NumpyNearest), [])


def test_events_are_the_lines_that_json_makes_of_them(tmp_path: Path) -> None:
    reply = Reply(text=REPLY, usage=Usage(prompt_tokens=7, completion_tokens=2**70), model='"m"\n')
    request = Request(id="en/01/0003", messages=(), max_tokens=1)
    reader = Reader(language="en", rules=Rules("en", RuleSettings()))
    events = events_of(
        [Read(request=request, reply=reply, contents=reader.read(REPLY, "length"))],
        pool_in(tmp_path),
    )
    rows = [json.loads(text) for _, _, text in events]
    assert [text for _, _, text in events] == list(map(line, rows))
    assert [(kind, about) for kind, about, _ in events] == [
        (row["event"], row.get("reason", "" if row["event"] == "kept" else row["prompt"]))
        for row in rows
    ]

    first = {
        "event": "kept",
        "id": "en-000001",
        "prompt": "en/01/0003",
        "instruction": "Name \u201cthree\u201d birds of the Andes\\coast.",
        "input": "",
        "output": "Condor, \ttinamou and\u2028 flamingo.",
        "changes": [],
    }
    kept = [row for row in rows if row["event"] == "kept"]
    assert line(kept[0]) == line(first)
    assert kept[1]["changes"]  # the input that repeats the instruction
    assert [row["reason"] for row in rows if row["event"] == "dropped"] == [
        "truncated",
        "web_link",
        "too_similar",
    ]
    nearest = rows[-2]
    assert list(nearest) == [
        *("event", "prompt", "reason", "detail", "nearest", "score", "text"),
    ]
    assert nearest["nearest"] == "en-000001"
    assert nearest["detail"] == f"ROUGE-L {nearest['score']:.3f} with en-000001"
    assert rows[-1] == {
        "event": "reply",
        "prompt": "en/01/0003",
        "kept": 2,
        "dropped": 3,
        "finish_reason": "stop",
        "prompt_tokens": 7,
        "completion_tokens": 2**70,
        "model": '"m"\n',
    }


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='"\\\n\u00e9a', min_size=900, max_size=2100), st.integers(1, 2))
def test_a_long_text_is_cut_in_letters_and_not_in_bytes(text: str, times: int) -> None:
    instruction = text * times
    given_twice = [("", json_text(instruction), b'"input": "", "output": "", "changes": []')] * 2
    contents = Contents(given_twice, *packed_for_travel(["a b"] * 2, "en", tokenize))
    read = Read(
        request=Request(id="en/01/0000", messages=(), max_tokens=1),
        reply=Reply(text=""),
        contents=contents,
    )
    *_, (_, _, too_similar), _ = events_of([read], pool_in(Path("unused")))
    assert json.loads(too_similar)["text"] == instruction[:2000]


@pytest.fixture
def appended(tmp_path: Path) -> Callable[[Request, Reply], bytes]:
    """What an empty journal holds after a reply was appended."""

    def append(request: Request, reply: Reply) -> bytes:
        (tmp_path / FILE).unlink(missing_ok=True)
        journal = Journal(tmp_path)

        async def once() -> None:
            appender = Appender(asyncio.get_running_loop())
            await journal.append(request, reply, appender)
            appender.close()

        asyncio.run(once())
        return (tmp_path / FILE).read_bytes()

    return append


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TEXTS, TEXTS | HALVES, TEXTS, st.integers(0, 2**80), st.booleans())
def test_a_journal_is_the_lines_that_json_makes_of_replies(
    appended: Callable[[Request, Reply], bytes],
    name: str,
    text: str,
    model: str,
    tokens: int,
    usable: bool,
) -> None:
    messages = ({"role": "user", "content": text}, {"role": "user", "content": model})
    request = Request(id=name, messages=messages, max_tokens=1)
    usage = Usage(prompt_tokens=tokens, completion_tokens=tokens // 3)
    reply = Reply(text=text, finish_reason="length", usage=usage, model=model, is_usable=usable)
    asked = sha256(json.dumps(list(messages)).encode()).hexdigest()[:16]
    row = {
        "id": name,
        "request": asked,
        "finish_reason": "length",
        "prompt_tokens": tokens,
        "completion_tokens": tokens // 3,
        "model": model,
        "text": text,
    }
    assert appended(request, reply) == line(row if usable else {**row, "usable": False})


@pytest.mark.parametrize("start", [0, 20, 9000, 40_000])
def test_a_line_is_read_from_its_first_byte_to_its_end(tmp_path: Path, start: int) -> None:
    lines = [bytes([97 + number % 26]) * (7 * number) for number in range(400)]
    whole = b"\n".join(lines) + b"\n" + b"z" * 20_000
    (tmp_path / "file").write_bytes(whole)
    assert read_line(tmp_path / "file", start) == whole[start:].split(b"\n")[0]
    assert read_line(tmp_path / "file", len(whole) - 20_000) == b"z" * 20_000
