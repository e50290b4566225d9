"""`xtune data` as a person types it: the very tokens, the report, the verdict, and one message for a mistake."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from running import write_recipe
from tokenizers import Tokenizer
from typed_command import Command

import xtune


@pytest.fixture
def say(xtune: Command) -> Command:
    """`xtune data`."""
    return partial(xtune, "data")


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, **more},
        ]
    }


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Four rows, one of them without an answer."""
    return write(
        tmp_path / "some.jsonl",
        [chat("red", "blue"), chat("lamp", " "), chat("boat", "river stone"), chat("x", "nine")],
    )


def test_json_holds_the_ids_and_labels_of_another_library(
    say: Command, tiny_model: Path, rows: Path
) -> None:
    code, out, _ = say("show", tiny_model, "--data", rows, "--json", "data.max_dropped=0.5")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["source"], one["row"]) for one in found] == [(str(rows), n) for n in (0, 2, 3)]
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    expected = [("red", "blue"), ("boat", "river stone"), ("x", "nine")]
    for one, (question, answer) in zip(found, expected, strict=True):
        assert set(one) == {"source", "row", "input_ids", "labels", "text", "trained_text"}
        before = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        prompt, answered, end = (
            tokenizer.encode(part, add_special_tokens=False).ids
            for part in (before, f"{answer}<|im_end|>", "\n")
        )
        assert one["input_ids"] == [*prompt, *answered, *end]
        assert one["labels"] == [-100] * len(prompt) + answered + [-100] * len(end)
        assert one["text"] == f"{before}{answer}<|im_end|>\n"
        assert one["trained_text"] == f"{answer}<|im_end|>"


def test_without_colour_trained_tokens_stand_in_brackets(say: Command, rows: Path) -> None:
    code, out, _ = say("show", "bundled:demo", "--data", rows, "-n", 1, "data.max_dropped=0.5")
    assert code == 0
    assert "\x1b" not in out
    assert "the first 1 of 3 training sequences" in out
    (answer,) = [line for line in out.splitlines() if "im_end" in line and "⟦" in line]
    assert re.sub(r"[│·]", "", answer) == "⟦blue<|im_end|>⟧↵"


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_turns_colours_into_brackets(
    monkeypatch: pytest.MonkeyPatch, say: Command, rows: Path, no_color: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = say("show", "bundled:demo", "--data", rows, "data.max_dropped=0.5")
    assert ("⟦" in out) is no_color
    assert ("\x1b[30;48" in out) is not no_color  # black on a colour of 256


def test_weights_splits_and_hostile_text_are_visible(say: Command, tmp_path: Path) -> None:
    file = write(tmp_path / "odd.jsonl", [chat("go\x1b[31m\u202e", "two", weight=0.5)])
    _, out, _ = say("show", "bundled:demo", "--data", file)
    assert "⟦×0.5:" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "⟨U+202E⟩" in out
    text = write(tmp_path / "text.jsonl", [{"text": "red blue green " * 10}])
    _, out, _ = say("show", "bundled:demo", "--data", text, "data.max_tokens=16", "--row", 0)
    assert "row 0 (line 1), part 2 of " in out
    assert "split into parts of at most 16 tokens" in out
    assert re.search(
        r"^ +1 +\d+ +\d+ +1  \S", out, re.MULTILINE
    )  # position, id, label, weight, token


def test_a_row_that_is_not_there_says_why(say: Command, rows: Path) -> None:
    words = ("show", "bundled:demo", "--data", rows, "data.max_dropped=0.5", "--row")
    code, _, err = say(*words, 1)
    assert (code, "empty answer" in err) == (2, True)
    code, _, err = say(*words, 9)
    assert (code, "the last one in use is row 3" in err) == (2, True)


def test_a_run_folder_shows_what_its_run_was_trained_on(
    say: Command, tmp_path: Path, tiny_model: Path, rows_file: Path, held_out_file: Path
) -> None:
    write_recipe(tmp_path, tiny_model, rows_file, {"data.evaluate": str(held_out_file)})
    code, out, _ = say("show", tmp_path, "--evaluate", "-n", "2", "--json")
    assert code == 0
    assert [json.loads(line)["source"] for line in out.splitlines()] == [str(held_out_file)] * 2


def test_check_counts_by_hand(say: Command, tmp_path: Path, tiny_model: Path, rows: Path) -> None:
    more = write(tmp_path / "more.jsonl", [{"prompt": "red", "completion": "blue"}] * 2)
    held_out = write(tmp_path / "held-out.jsonl", [chat("red", "blue"), chat("boat", "cloud")])
    changes = {"data.train": [str(rows), str(more)], "data.evaluate": str(held_out)}
    recipe = write_recipe(tmp_path, tiny_model, rows, {**changes, "data.max_dropped": 0.5})
    code, out, _ = say("check", recipe, "--json")
    found = json.loads(out)
    assert (code, found["ready"], found["refusals"]) == (0, True, [])
    train = found["train"]
    assert (train["rows_read"], train["rows_kept"], train["duplicates"]["rows"]) == (6, 5, 2)
    assert train["dropped"]["empty answer"] == {"rows": 1, "examples": [f"{rows}:2"]}
    assert [(one["name"], one["rows"]) for one in train["files"]] == [
        (str(rows), 3),
        (str(more), 2),
    ]
    assert sum(one["tokens"] for one in train["files"]) == train["tokens"]
    assert sum(one["rows"] for one in train["histogram"]) == 5
    assert sum(train["languages"].values()) == train["languages_of_rows"] == 5
    assert found["evaluation_rows_also_trained"] == 1
    assert {one["format"] for one in found["files"]} == {"messages", "prompt_completion"}
    code, out, _ = say("check", recipe)
    assert code == 0
    for words in (
        "6",
        "empty answer: 1 row",
        "exact repeats",
        "█",
        "word for word",
        "Ready to train.",
    ):
        assert words in out


def test_check_names_a_few_files_of_a_folder_and_counts_all(say: Command, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(100, 130):
        (folder / f"{number}.txt").write_text("Nine letters", encoding="utf-8")
    code, out, _ = say("check", "bundled:demo", "--data", folder)
    assert code == 0
    assert "11 other files" in out
    assert re.search(r"11 other files +11 +text +132\b", out)  # 12 bytes each
    assert "118.txt: 1 row" in out
    assert "119.txt: 1 row" not in out
    code, out, _ = say("check", "bundled:demo", "--data", folder, "--json")
    assert len(json.loads(out)["train"]["files"]) == 30


def test_check_prints_the_report_and_then_the_refusal(say: Command, rows: Path) -> None:
    code, out, err = say("check", "bundled:demo", "--data", rows)
    assert code == 2
    assert "empty answer: 1 row" in out
    assert "Ready" not in out
    assert "1 of 4 rows of `data.train` would be lost" in err
    code, out, _ = say("check", "bundled:demo", "--data", rows, "--json")
    assert (code, json.loads(out)["ready"], json.loads(out)["train"]["rows_kept"]) == (2, False, 3)


def test_rows_that_cannot_be_read_are_refused_without_a_report(
    say: Command, tmp_path: Path
) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text('{"prompt": "a"\n', encoding="utf-8")
    for verb in ("show", "check"):
        code, _, err = say(verb, "bundled:demo", "--data", file)
        assert (code, f"{file}:1" in err, "Traceback" in err) == (2, True, False)


def test_tokens_are_counted_as_another_library_counts_them(
    say: Command, tmp_path: Path, tiny_model: Path
) -> None:
    text = "red lamp\nกา und"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.xml").write_text(
        f'<?xml version="1.0"?><d xml:lang="th-TH"><p>{text}</p></d>', encoding="utf-8"
    )
    files = (tmp_path / "a.txt", tmp_path / "b.xml")
    code, out, _ = say("tokens", tiny_model, *files, "--model", "bundled:demo", "--json")
    assert code == 0
    found = json.loads(out)["files"]
    assert [one["file"] for one in found if one["language"] == "th"] == [str(files[1])] * 2
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    for one in found:
        assert (one["characters"], one["bytes"]) == (15, 19)
        if one["model"] == str(tiny_model):
            assert one["tokens"] == len(ids)
            assert one["byte_tokens"] == 6  # two Thai characters of three bytes
            assert one["characters_per_token"] == pytest.approx(15 / len(ids))
    code, out, _ = say("tokens", "bundled:demo", *files)
    assert (code, "a.txt" in out, "b.xml" in out) == (0, True, True)
    code, _, err = say("tokens", "bundled:demo", tmp_path / "none.txt")
    assert (code, "does not exist" in err) == (2, True)


def test_a_template_is_tried_and_one_without_an_end_is_refused(
    say: Command, tmp_path: Path
) -> None:
    code, out, _ = say("template", "bundled:demo", "--json")
    trials = {one["conversation"]: one for one in json.loads(out)["trials"]}
    assert code == 0
    assert trials["several turns"]["trained"] == ["Uno.<|im_end|>", "Due.<|im_end|>"]
    file = tmp_path / "open.jinja"
    file.write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", encoding="utf-8"
    )
    code, out, err = say("template", file)
    assert (code, "masks: refused" in out, "would never learn to stop" in err) == (2, True, True)
    file.write_text(
        "{% for m in messages %}<|a|>{{ m.content }}<|stop|>{% endfor %}", encoding="utf-8"
    )
    code, out, _ = say("template", file, "--json")
    assert (code, json.loads(out)["added_tokens"]) == (0, ["<|a|>", "<|stop|>"])
    assert json.loads(out)["end_tokens"] == ["<|stop|>"]
    code, _, err = say("template", tmp_path / "none.jinja")
    assert (code, "does not exist" in err) == (2, True)


def test_known_sets_are_listed_by_language_and_in_full(say: Command) -> None:
    code, out, _ = say("sets", "--json")
    every = json.loads(out)
    assert code == 0
    assert every
    first = every[0]["name"]
    code, out, _ = say("sets", first)
    assert (code, f"data: {{train: set:{first}}}" in out) == (0, True)
    code, out, _ = say("sets", "--language", "th", "--json")
    assert {bool({"th", "multi"} & set(one["languages"])) for one in json.loads(out)} <= {True}
    code, _, err = say("sets", f"{first}x")
    assert (code, f"did you mean `set:{first}`" in err.lower()) == (2, True)


def test_help_is_light() -> None:
    program = (
        "import sys; sys.argv = ['xtune', 'data', 'show', '--help']\n"
        "from xtune.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'transformers', 'numpy', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_notebooks_get_objects_that_show_themselves(rows: Path) -> None:
    hostile = chat("<script>alert(1)</script>", "<b>bold</b>")
    file = write(rows, [hostile, hostile])
    shown = xtune.data_show("bundled:demo", data=str(file))._repr_html_()
    assert "<script" not in shown
    assert "<b>bold" not in shown
    assert "<svg" in xtune.data_check("bundled:demo", data=str(file))._repr_html_()
    assert len(list(xtune.data_show("bundled:demo", data=str(file), count=None))) == 2
