"""What docs/seeds.md tells a reader to type works as it stands there: a twelfth language by commands alone."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import Say, ScriptedLLM, completion, serving, tasks_text

PAGE = (Path(__file__).parents[2] / "docs" / "seeds.md").read_text(encoding="utf-8")
DUTCH = (
    "de het een en van is dat op te in met zijn voor niet ook maar hij zij wij water huis boom fiets straat kaas brood "
    "school dokter moeder vader kinderen vandaag morgen schrijven lezen maken geven vragen vertellen antwoord woorden "
    "zinnen regels korte lange nieuwe oude mooie kleine grote vogel paard sleutel venster deur keuken tuin markt rivier"
)
STAYS = r"(^\s*\(?(?:[A-Za-z]|\d+\. \w+)[).:]|\"[a-z]+\"|\{\w+\}|`[^`]+`|https?://\S+|<noinput>)"


def dutch(text: str) -> str:
    """A Dutch word for every word, always the same one, and all else as it is."""
    words = DUTCH.split()

    def other(found: re.Match[str]) -> str:
        digest = hashlib.sha256(found[0].lower().encode()).digest()
        return words[int.from_bytes(digest[:4], "big") % len(words)]

    pieces = re.split(STAYS, text, flags=re.MULTILINE)
    return "".join(
        piece if number % 2 else re.sub(r"[^\W\d_]+", other, piece)
        for number, piece in enumerate(pieces)
    )


def speaks_dutch(_number: int, body: dict[str, Any]) -> Say:
    """Translates tasks, and goes on with a list of tasks."""
    *_, last = body["messages"]
    if not body["messages"][0]["content"].startswith("You translate"):
        return Say(body=completion(dutch(tasks_text(last["content"]))))
    task, end = json.JSONDecoder().raw_decode(last["content"])
    kept = re.search(r"Copy (.*) letter by letter", last["content"][end:])
    told = {
        name: text if kept and f'"{name}"' in kept[1] else
        json.dumps({key: dutch(value) for key, value in json.loads(text).items()}) if text.startswith("{") else
        dutch(text)
        for name, text in task.items()
    }  # fmt: skip
    return Say(body=completion(json.dumps(told)))


def test_the_commands_for_another_language_work_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```\n(export .*?selfinstruct translate.*?)```", PAGE, flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    said = {}
    with serving(ScriptedLLM(speaks_dutch)) as server:
        for words in lines:
            if words[0] == "export":
                continue
            name, verb, *rest = words
            assert name == "selfinstruct"
            here = [f"llm.base_url={server.url}"] if verb in {"translate", "run"} else []
            done = subprocess.run(
                [sys.executable, "-m", name, verb, *rest, *here],
                cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            said[verb if verb != "seeds" else rest[0]] = done.stdout
    assert said["translate"].startswith("nl: 162 translated; seeds/nl.jsonl\n")
    assert said["check"].endswith("seeds/nl.jsonl: ok\n")
    assert said["show"].count("instruction\n") >= 1
    rows = (tmp_path / "seeds" / "nl.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 162
    assert dutch("Write a short e-mail") in rows[0]
    assert re.match(r"[1-9]\d* tasks kept \(nl \d+\)", said["run"])
