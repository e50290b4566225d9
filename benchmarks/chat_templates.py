"""Compares the masks of a folder of chat templates with an oracle: right, refused (why) or wrong; it trains nothing.

    python benchmarks/chat_templates.py FOLDER [TOKENIZER ...]

FOLDER holds *.jinja files; they are other people's and not part of this repository. Every template is tried
with a byte-level tokenizer and with each TOKENIZER (a folder), to which the template's special tokens are
added. The oracle is in tests/support: characters tracked through Jinja, end tokens by name.
"""

import argparse
import collections
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from mask_oracle import FREE, YES, OracleUnsureError, Verdict, judge
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tracked import TrackedTemplate
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from xtune.data.encode import Encoder
from xtune.data.ending import end_turns
from xtune.data.turns import messages_of
from xtune.data.types import Conversation, Origin
from xtune.data.wants import PROBE_TOOL
from xtune.errors import DataError

SPECIAL = re.compile(
    r"<\|[^|<>\s{}']{1,40}\|>|<｜[^｜<>]+｜>|\[/?[A-Z_]{2,}\]|<(?:start|end|begin)_of_\w+>|</?(?:think|tool_call|tool_response|s)>"
    r"|<\|\w+>|<\w+\|>|\[e~\[|\]~b\]|<seed:\w+>|<sep>|<_end>|\[EOS\]|\[\|\w+\|\]|<SPECIAL_\d+>|</?(?:assistant|user|system)>"
)


def call(**arguments: Any) -> dict[str, Any]:
    """A tool call."""
    function = {"name": "town_weather", "arguments": arguments}
    return {"id": "abcde1234", "type": "function", "function": function}


def turns(*contents: str | dict[str, Any], first: str = "user") -> list[dict[str, Any]]:
    """Messages of alternating roles."""
    roles = ["user", "assistant"] if first == "user" else ["system", "user", "assistant"]
    rows = []
    for n, content in enumerate(contents):
        role = (
            roles[n % 2]
            if first == "user"
            else ("system" if n == 0 else ["user", "assistant"][(n - 1) % 2])
        )
        rows.append(
            {"role": role, **content}
            if isinstance(content, dict)
            else {"role": role, "content": content}
        )
    return rows


RESULT = {
    "role": "tool",
    "content": '{"sky": "clear"}',
    "name": "town_weather",
    "tool_call_id": "abcde1234",
}
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "single": (turns("Which river?", "The Oder."), None),
    "multi": (turns("One?", "Uno.", "Two?", "Due.", "Three?", "Tre."), None),
    "system": (turns("Be terse.", "Hi", "Yo", "Bye", "Ciao", first="system"), None),
    "tools": (turns("Weather?", "Which town?"), [PROBE_TOOL]),
    "call": (
        [*turns("Weather in Oslo?", {"content": "", "tool_calls": [call(town="Oslo")]}), RESULT,
         {"role": "assistant", "content": "Clear."}],
        [PROBE_TOOL],
    ),
    "call with text": (
        [*turns("Oslo?", {"content": "I look it up.", "tool_calls": [call(town="Oslo \"x\"")]}), RESULT,
         {"role": "assistant", "content": "Clear."}, *turns("Thanks", "Welcome")],
        [PROBE_TOOL],
    ),
    "call last": (turns("Oslo?", {"content": "", "tool_calls": [call(town="Oslo")]}), [PROBE_TOOL]),
    "two calls": (
        [*turns("Oslo, Rome?", {"content": "", "tool_calls": [call(town="Oslo"), call(town="Rome", days=3)]}),
         RESULT, RESULT, {"role": "assistant", "content": "Clear."}],
        [PROBE_TOOL],
    ),
    "reasoning": (turns("2+2?", {"content": "Four.", "reasoning_content": "Two and two."}), None),
    "reasoning twice": (
        turns("2+2?", {"content": "Four.", "reasoning_content": "Two and two."}, "3+3?",
              {"content": "Six.", "reasoning_content": "Three and three."}),
        None,
    ),
    "inline reasoning": (turns("2+2?", "<think>\nTwo and two.\n</think>\n\nFour."), None),
    "inline twice": (
        turns("2+2?", "<think>\nTwo.\n</think>\n\nFour.", "3?", "<think>\nThree.\n</think>\n\nSix."), None),
    "reasoning and call": (
        [*turns("Oslo?", {"content": "", "reasoning_content": "Ask.", "tool_calls": [call(town="Oslo")]}), RESULT,
         {"role": "assistant", "content": "Clear.", "reasoning_content": "Read it."}],
        [PROBE_TOOL],
    ),
    "white space": (turns("  Hi \n", "\n  Yo  \n", " Bye", " Ciao"), None),
    "newlines": (turns("Hi\n\n", "\n\nYo\n\n"), None),
    "same": (turns("Echo", "Echo", "Echo", "Echo"), None),
    "specials": (turns("Say <|im_end|> or </s>", "<|im_end|>\n<|im_start|>user\nfoo</s>", "[INST] x [/INST]", "<|eot_id|>"), None),
    "literals": (turns("user assistant system", "assistant", "{{ messages }}{% if %}", "{% generation %}<|user|>"), None),
    "unicode": (turns("Привет 👩‍👩‍👧", "สวัสดี é e\u0301 한국어 日本語"), None),
    "user last": (turns("Hi", "Yo", "Bye"), None),
    "no think": (turns("Hi /no_think", "Yo"), None),
    "empty": (turns("Hi", "", "Bye", "Ciao"), None),
    "blank": (turns("Hi", " ", "", "Ciao"), None),
    "numbers": (turns("1", "2", "3", "4"), None),
    "json": (turns('{"a": 1}', '{"b": [1, "x"]}'), None),
    "code": (turns("Code?", "```python\nprint('hi')\n```\n"), None),
    "assistant first": ([{"role": "assistant", "content": "Hello?"}, *turns("Hi", "Yo")], None),
    "two users": ([*turns("A"), *turns("B", "C")], None),
    "two answers": ([*turns("A", "B"), {"role": "assistant", "content": "C"}], None),
}  # fmt: skip


def byte_tokenizer() -> Tokenizer:
    """One token for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def fitted(base: Path | None, template: str) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the special tokens of a template."""
    made = byte_tokenizer() if base is None else Tokenizer.from_file(str(base / "tokenizer.json"))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    names = set(SPECIAL.findall(template))
    for rows, tools in CONVERSATIONS.values():
        try:
            plain = fast.apply_chat_template(
                rows[:2],
                tools=tools,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception:  # noqa: BLE001 - whatever a template raises
            continue
        names |= set(SPECIAL.findall(plain)) - set(
            SPECIAL.findall(json.dumps(rows, ensure_ascii=False))
        )
    fast.add_tokens([AddedToken(name, special=True, normalized=False) for name in sorted(names)])
    fast.chat_template = template
    return fast


def compare(verdict: Verdict, encoder: Encoder, row: Conversation, tokenizer: Any) -> str:
    """Empty, or what is wrong: "refused: ..." or "wrong: ..."."""
    reason = verdict.lost or ("" if verdict.ended else "no end token")
    try:
        encoded = encoder.encode_rows([row])
    except DataError as error:
        kind = "untrainable" if reason else "refused"
        return f"{kind}: {error.problems[0].what}"
    if reason:
        return f"wrong: {reason}, yet accepted"
    if not encoded.sequences:
        return f"refused: dropped, {encoded.drops[0].reason}"
    sequence = encoded.sequences[0]
    made = tokenizer(
        verdict.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    if made["input_ids"] != sequence.input_ids.tolist():
        return "wrong: other token ids"
    special = {*tokenizer.added_tokens_decoder}
    position = 0
    for number, (start, end) in enumerate(made["offset_mapping"]):
        first = min(start, position)
        position = max(position, end)
        kinds = set(verdict.kinds[first:end])
        trained = bool(sequence.weights[number] > 0)
        if made["input_ids"][number] in special and verdict.kinds[first : first + 1] != YES:
            kinds -= {YES}
        expected = True if YES in kinds else None if FREE in kinds else False
        if kinds and expected is not None and trained != expected:
            context = (
                verdict.text[max(0, start - 30) : start],
                verdict.text[start:end],
                verdict.text[end : end + 30],
            )
            return f"wrong: token {number} {context} trained {trained}"
    return ""


def as_it_takes(
    messages: list[dict[str, Any]], tools: Any, tokenizer: Any
) -> tuple[list[dict[str, Any]], str]:
    """The messages in the first shape in which a template writes all their texts, else any at all; and its rendering."""
    taken, fault = [], None
    for parts in (False, True):
        for json_text in (False, True):
            rows = [in_shape(message, parts=parts, json_text=json_text) for message in messages]
            try:
                plain = tokenizer.apply_chat_template(rows, tools=tools, tokenize=False)
            except Exception as error:  # noqa: BLE001 - whatever a template raises
                fault = fault or error
                continue
            texts = [
                m["content"].split("</think>")[-1].strip() for m in messages if m["role"] != "tool"
            ]
            written = sum(text in plain for text in texts) - plain.count("{'town'")
            taken.append((written, rows, plain))
    if not taken:
        raise fault or ValueError(messages)
    _, rows, plain = max(taken, key=lambda found: found[0])
    return rows, plain


def in_shape(message: dict[str, Any], *, parts: bool, json_text: bool) -> dict[str, Any]:
    """A message with its content as a list of parts, and the arguments of its calls as JSON text."""
    made = dict(message)
    if parts:
        made["content"] = [{"type": "text", "text": message["content"]}]
    if json_text and message.get("tool_calls"):
        made["tool_calls"] = [
            {
                **call,
                "function": {
                    **call["function"],
                    "arguments": json.dumps(call["function"]["arguments"]),
                },
            }
            for call in message["tool_calls"]
        ]
    return made


def with_end(text: str, tokenizer: Any) -> str | None:
    """A template that writes nothing behind the last answer, with what it writes behind earlier ones, or the end of text."""
    plain = [
        {"role": role, "content": f"\ue000{n}\ue001"}
        for n, role in enumerate(["user", "assistant"] * 2)
    ]
    try:
        _, rendered = as_it_takes(plain, None, tokenizer)
    except Exception:  # noqa: BLE001 - whatever a template raises
        return None
    earlier, _, last = rendered.partition("\ue0001\ue001")[2].partition("\ue0003\ue001")
    found = re.match(rf"\s*({SPECIAL.pattern})", earlier)
    token = found.group(1) if found and found.group(1)[0] == "<" else tokenizer.eos_token
    if last.strip():
        return None
    call = "<|observation|>" if token == "<|user|>" and "<|observation|>" in text else None
    tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in (token, call) if name]
    )
    end_turns(tokenizer, token, call)
    return str(tokenizer.chat_template)


def try_template(
    text: str, bases: list[Path | None], results: Any, name: str, *, end: bool
) -> None:
    """Compare one template's masks with the oracle's on all conversations."""
    for base in bases:
        tokenizer = fitted(base, text)
        ended = with_end(text, tokenizer) if end else None
        text = ended or text
        encoder = Encoder(tokenizer, max_tokens=10**6)
        tracked = TrackedTemplate(text, tokenizer.special_tokens_map)
        for label, (messages, tools) in CONVERSATIONS.items():
            row = Conversation(
                messages=tuple(messages_of(messages, "messages", {})),
                tools=tuple(tools or ()),
                origin=Origin(source=label, row=0),
            )
            wanted = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
            try:
                rows, plain = as_it_takes(messages, tools, tokenizer)
            except Exception as error:  # noqa: BLE001 - whatever a template raises
                outcome = f"template: {str(error)[:80]}"
                results[outcome.split(":")[0]].append((name, label, outcome))
                continue
            try:
                verdict = judge(tracked, rows, tools, wanted, marked="generation" in text)
                same = verdict.text == plain
                outcome = (
                    compare(verdict, encoder, row, tokenizer) if same else "unsure: other text"
                )
                outcome = outcome or "right"
            except OracleUnsureError as error:
                outcome = f"unsure: {error}"
                try:
                    encoder.encode_rows([row])
                    outcome += " (accepted)"
                except DataError as refusal:
                    outcome += f" (refused: {refusal.problems[0].what})"
            results[outcome.split(":")[0]].append((name, label, outcome))


def main() -> None:
    """Compare all templates of a folder and tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tokenizers", type=Path, nargs="*")
    parser.add_argument("--list", nargs="*", default=["wrong"], help="outcomes to list one by one")
    parser.add_argument(
        "--end", action="store_true", help="use `data.end_token` where a template writes none"
    )
    parser.add_argument("--only", default="", help="part of a template's name")
    options = parser.parse_args()
    transformers_logging.set_verbosity_error()
    results: dict[str, list[tuple[str, str, str]]] = collections.defaultdict(list)
    files = [path for path in sorted(options.folder.glob("*.jinja")) if options.only in path.name]
    for path in files:
        try_template(
            path.read_text(encoding="utf-8"),
            [None, *options.tokenizers],
            results,
            path.stem,
            end=options.end,
        )
    for outcome in options.list:
        for found in results[outcome]:
            print(*found, sep=" | ")
    reasons = collections.Counter(
        re.sub(r"message \d+", "message N", found[2])
        for found in [*results["refused"], *results["untrainable"]]
    )
    for reason, count in reasons.most_common(20):
        print(f"{count:6} {reason[:150]}")
    print(f"{len(files)} templates:", {outcome: len(found) for outcome, found in results.items()})
    for outcome in ("wrong", "right"):
        print(f"templates with {outcome}:", len({found[0] for found in results[outcome]}))


if __name__ == "__main__":
    main()
