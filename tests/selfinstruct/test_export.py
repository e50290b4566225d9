"""What comes out of a run: status, numbers, the data set with its card, and that xtune trains on it as it is."""

import io
import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from datasets import load_dataset
from rich.console import Console
from running import xtune
from scripted_llm import ScriptedLLM, serving

from selfinstruct.report.export import export
from selfinstruct.report.progress import Lines
from selfinstruct.report.stats import LanguageStats, print_stats, read_stats
from selfinstruct.run import verbs
from selfinstruct.run.verbs import run_recipe
from selfinstruct.seeds import shipped_seeds
from xtune.errors import RunError, XtuneError


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown")
    with serving(ScriptedLLM()) as server:
        (folder / "recipe.yaml").write_text(
            "languages: [en, es]\n"
            f"seeds: {shipped_seeds('en')}\n"
            "rules: {wrong_language: false}\n"
            f"llm: {{model: scripted, base_url: '{server.url}', output: text, price: {{prompt: 1, completion: 2}}}}\n"
            "generate: {rounds: 2, first_round_prompts: 4, prompts_per_round: 6}\n"
            f"run: {{folder: {folder / 'run'}}}\n",
            encoding="utf-8",
        )
        run_recipe(str(folder / "recipe.yaml"), show=Lines(sys.stderr))
    return folder / "run"


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def kept(run, language):
    return [row for row in rows(run / "pool" / f"{language}.jsonl") if row["event"] == "kept"]


def test_every_kept_task_is_exported_once_and_the_held_out_part_stays_apart(grown, tmp_path):
    exported = export(grown, tmp_path / "out", split=0.2)

    for language in ("en", "es"):
        train, held_out = (
            rows(tmp_path / "out" / f"{language}{end}.jsonl") for end in ("", ".test")
        )
        expected = [
            (row["instruction"], row["input"], row["output"]) for row in kept(grown, language)
        ]
        assert sorted(
            (row["instruction"], row["input"], row["output"]) for row in [*train, *held_out]
        ) == sorted(expected)
        assert exported.counts[language] == (len(train), len(held_out))
        assert 0.08 < len(held_out) / len(expected) < 0.35


def test_messages_and_sharegpt_say_the_same(grown, tmp_path):
    export(grown, tmp_path / "m", form="messages")
    export(grown, tmp_path / "s", form="sharegpt")
    task = next(row for row in kept(grown, "es") if row["input"])
    asked = f"{task['instruction']}\n\n{task['input']}"

    place = kept(grown, "es").index(task)
    assert rows(tmp_path / "m" / "es.jsonl")[place] == {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": task["output"]},
        ]
    }
    assert rows(tmp_path / "s" / "es.jsonl")[place] == {
        "conversations": [
            {"from": "human", "value": asked},
            {"from": "gpt", "value": task["output"]},
        ]
    }


def test_the_card_tells_model_counts_drops_and_licence(grown, tmp_path):
    export(grown, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    drops = sum(one.drops["too_similar"] for one in read_stats(grown).values())

    assert "Model: scripted" in card
    assert f"| too_similar | {drops:,} |" in card
    assert f"| es | {len(kept(grown, 'es'))} | 0 |" in card
    assert "terms of whoever provides that" in card


def test_the_datasets_package_finds_both_splits_and_every_language(grown, tmp_path, monkeypatch):
    exported = export(grown, tmp_path / "out", split=0.2)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    for name, languages in (("default", ("en", "es")), ("es", ("es",))):
        loaded = load_dataset(str(tmp_path / "out"), name, cache_dir=str(tmp_path / "cache"))
        for index, split in enumerate(("train", "test")):
            counted = sum(exported.counts[language][index] for language in languages)
            assert loaded[split].num_rows == counted > 0
    export(grown, tmp_path / "whole")
    whole = load_dataset(str(tmp_path / "whole"), cache_dir=str(tmp_path / "cache"))
    assert list(whole) == ["train"]
    assert whole["train"].num_rows == len(kept(grown, "en")) + len(kept(grown, "es"))


def test_nothing_is_overwritten_and_what_is_no_run_is_said_so(grown, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(XtuneError, match="it is not overwritten"):
        export(grown, tmp_path / "out")
    with pytest.raises(RunError, match="is no folder"):
        export(tmp_path / "nowhere", tmp_path / "new")
    with pytest.raises(XtuneError, match="--split"):
        export(grown, tmp_path / "new", split=1.0)


def test_status_tells_replies_tokens_and_cost(grown):
    text = verbs.status(str(grown))
    assert "not running, model scripted" in text
    assert "replies 10 of 10" in text
    assert "10,000 prompt and 14,000 answer tokens, 0.0380 USD" in text


def test_xtune_trains_on_what_comes_out(grown, tmp_path):
    exported = export(grown, tmp_path / "out", split=0.1)
    done = xtune(
        "train",
        "quickstart",
        *str(exported).splitlines()[-1].split()[4:],
        "train.max_steps=2",
        "train.batch_size=2",
        f"run.folder={tmp_path / 'trained'}",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trained" / "adapter" / "adapter_model.safetensors").is_file()
    report = json.loads((tmp_path / "trained" / "data.json").read_text(encoding="utf-8"))
    trained, held_out = map(sum, zip(*exported.counts.values(), strict=True))
    assert (report["train"]["rows_read"], report["evaluate"]["rows_read"]) == (trained, held_out)
    assert report["evaluation_rows_also_trained"] == 0
    evaluated = xtune("evaluate", str(tmp_path / "trained"))
    assert evaluated.returncode == 0, evaluated.stderr


def command(*words):
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_stats_are_printed(grown):
    code, out, _ = command("stats", str(grown))
    assert code == 0
    assert "too_similar" in out


def test_a_pool_that_somebody_wrote_into_is_told_and_an_unfinished_end_is_not(grown, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(grown, run)
    pool = run / "pool" / "es.jsonl"
    whole = pool.read_bytes()
    for line, told in (("{broken", "line 3 is not a JSON object"), ("[1]", "line 3"), ("{}", "no run wrote, at byte")):  # fmt: skip
        lines = whole.splitlines()
        lines[2] = line.encode()
        pool.write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(RunError, match=told):
            verbs.status(str(run))
    pool.write_bytes(whole + b'{"event": "ke')
    assert verbs.status(str(run)) == verbs.status(str(grown)).replace(str(grown), str(run))


def test_no_number_of_eleven_languages_is_cut_short_on_a_narrow_terminal():
    stats = {
        language: LanguageStats(
            kept=14_671,
            replies=910,
            drops=Counter(input_like_instruction=10_203),
            rounds=dict.fromkeys(range(1, 11), (100, 1_467)),
        )
        for language in ("ar", "de", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi")
    }
    stream = io.StringIO()
    print_stats(stats, Console(file=stream, width=60))
    told = stream.getvalue()
    assert told.count("14,671") == told.count("10,203") / 2 == 11
    assert told.count("1,467") == 110
    assert f"{11 * 10_203:,}" in told
    assert "input_like_instruction" in told
    assert "…" not in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "nowhere.yaml"), "there is no such recipe (nowhere.yaml)"),
        (("run", "x/multialpca"), "one that ships: demo, multialpaca. Did you mean `multialpaca`?"),
        (("run", "demo", "llm.api_key=sk-123"), "would show a key to everyone who lists processes"),
        (("run", "multialpaca", "--budget", "five"), "Write --budget 5USD."),
        (("run", "multialpaca", "generate.round=2"), "Did you mean `generate.rounds`?"),
        (("status", "/nowhere"), "/nowhere is no folder."),
        (("translate", "demo", "--to", ","), "`--to` names no language. Write --to ar,de,es."),
        (("translate", "demo"), "`--to` names no language."),
        (("run", "multialpaca", "seeds=nowhere.jsonl", "run.folder={}"), "nowhere.jsonl cannot be"),
        (("run", "demo", "llm.model=local:/nowhere", "run.folder={}"), "no folder /nowhere"),
        (("run", "multialpaca", "run.folder=/proc/x"), "/proc/x could not be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, told, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890")
    code, _, err = command(*(word.replace("{}", str(tmp_path)) for word in words))
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert "sk-123" not in err


def test_help_loads_neither_torch_nor_openai_nor_numpy():
    code = (
        "import sys\nfrom selfinstruct.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'openai', 'numpy', 'transformers', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_format_is_told_in_a_line_with_those_there_are(tmp_path):
    words = ["export", str(tmp_path), str(tmp_path / "out"), "--format", "csv"]
    ended = subprocess.run(
        [sys.executable, "-m", "selfinstruct", *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "'csv' is not one of 'alpaca', 'messages', 'sharegpt'" in line
