"""The command as a hostile or clumsy person types it: one message that helps, the right exit code, nothing else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import write_recipe
from typed_command import Command, Ended

from xtune import api

# peft 0.21 reads a property that transformers 5.23 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")

HEAVY = ("torch", "transformers", "peft", "matplotlib", "datasets")


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, rows_file: Path
) -> Path:
    """The folder of a run of two steps; to be read, or copied."""
    folder = tmp_path_factory.mktemp("finished")
    changes = {"train.max_steps": 2, "train.save_every": 2}
    api.train(write_recipe(folder, tiny_model, rows_file, changes))
    return folder / "run"


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, rows_file: Path) -> Path:
    """A recipe that can be trained, with a run folder of its own."""
    return write_recipe(tmp_path, tiny_model, rows_file, {"train.max_steps": 2})


def assert_refused(ended: Ended, *words: str) -> None:
    """One clear refusal: exit code 2, the words on stderr, no trace of the machinery."""
    assert ended.code == 2, ended
    for word in words:
        assert word in " ".join(ended.err.split()), ended.err
    assert "Traceback" not in ended.err
    assert "Warning" not in ended.err
    assert not ended.out, "what is wrong belongs on stderr alone"


def test_settings_written_like_options_are_told_to_lose_their_dashes(
    xtune: Command, recipe: Path
) -> None:
    ended = xtune("train", recipe, "--epochs", "3")
    assert_refused(ended, "`--epochs` sets nothing", "have no dashes in front")


def test_a_misspelt_verb_is_told_the_nearest_one(xtune: Command) -> None:
    ended = xtune("trian", "quickstart")
    assert_refused(ended, "No such command 'trian'. Did you mean 'train'? See xtune --help.")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x00\xff", "is not"),
        ("modèle".encode("utf-16"), "is not UTF-8"),
        (b"- a\n- b\n", "is a list"),
        (b"train: [\n", "not closed"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_what_it_is(
    content: bytes, words: str, xtune: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    assert_refused(xtune("train", tmp_path / "mine.yaml"), "mine.yaml", words)


@pytest.mark.parametrize("verb", [("recipes", "show"), ("init",)])
def test_a_binary_file_in_the_place_of_a_recipe_is_neither_shown_nor_copied(
    verb: tuple[str, ...], xtune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    assert_refused(xtune(*verb, "photo.yaml"), "photo.yaml is not UTF-8 text")


def test_data_that_cannot_be_used_say_what_to_do(
    xtune: Command, recipe: Path, tmp_path: Path
) -> None:
    questions = tmp_path / "questions.jsonl"
    row = json.dumps({"messages": [{"role": "user", "content": "x"}]})
    questions.write_text(f"{row}\n" * 5)
    for override, words in {
        f"data.train={questions}": "Rows without an answer to train on must get one",
        "data.max_tokens=8": "Raise `data.max_tokens` (now 8)",
        "data.train=nowhere.jsonl": "`nowhere.jsonl` does not exist",
        "data.evaluate=0.999": "rows must be left to train on",
    }.items():
        assert_refused(xtune("check", recipe, override), words)


def test_a_broken_template_is_told_once_for_all_rows(
    xtune: Command, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jinja").write_text("{% for message in messages %}{{ message.content }")
    ended = xtune("check", recipe, f"data.template={tmp_path / 'broken.jinja'}")
    assert_refused(ended, "unexpected '}'", "and 157 more")
    assert len(ended.err.splitlines()) == 1


def test_a_failed_start_is_told_once_and_leaves_the_folder_free(
    xtune: Command, recipe: Path, tiny_model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    ended = xtune("train", recipe, f"model.name={broken}")
    assert_refused(ended, "is damaged", "Fetch it again")
    assert ended.err.count("is damaged") == 1
    assert xtune("train", recipe).code == 0


def test_a_run_that_diverged_before_its_first_checkpoint_may_be_started_anew(
    xtune: Command, recipe: Path
) -> None:
    ended = xtune("train", recipe, "train.learning_rate=1e30", "train.warmup_steps=0")
    assert ended.code == 2
    assert "train.learning_rate" in ended.err
    assert "nan" not in ended.out
    assert xtune("train", recipe, "train.learning_rate=1e-3").code == 0


def test_a_finished_run_in_the_folder_is_not_advised_to_be_resumed(
    xtune: Command, recipe: Path, finished_run: Path
) -> None:
    ended = xtune("train", recipe, f"run.folder={finished_run}")
    assert_refused(ended, "already holds a run, finished at step 2 of 2. Choose another folder")
    ended = xtune("train", "quickstart", "data.train=gone.jsonl", f"run.folder={finished_run}")
    assert_refused(ended, "already holds a run")  # before anybody looked for the data


@pytest.mark.parametrize("note", ["recipe.yaml", "data.json"])
def test_a_run_folder_with_a_damaged_note_is_not_resumed(
    note: str, xtune: Command, recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(finished_run, copied)
    (copied / note).write_text("{")
    assert_refused(xtune("train", recipe, "--resume", f"run.folder={copied}"), note)


def test_a_run_with_a_damaged_status_is_resumed_from_its_checkpoint(
    xtune: Command, recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(finished_run, copied)
    (copied / "status.json").write_text("{")
    changes = ["train.save_every=2", f"run.folder={copied}"]
    ended = xtune("train", recipe, "--resume", *changes)
    assert ended.code == 0, ended.err
    assert "Resuming after step 2" in ended.out
    assert json.loads((copied / "status.json").read_text())["state"] == "finished"


def test_the_next_commands_can_be_pasted_where_the_folder_has_a_space(
    xtune: Command, recipe: Path, tmp_path: Path
) -> None:
    ended = xtune("train", recipe, f"run.folder={tmp_path / 'my run'}")
    assert ended.code == 0, ended.err
    assert f"xtune chat '{tmp_path / 'my run'}'" in ended.out


NEEDS_A_RESULT = [
    ("chat",), ("evaluate",), ("export", "--to", "gguf"), ("generate", "--prompt", "x"), ("merge", "merged"), ("serve",),
]  # fmt: skip


@pytest.mark.parametrize("words", NEEDS_A_RESULT, ids=lambda words: words[0])
def test_folders_without_a_result_are_refused_by_every_verb_that_needs_one(
    words: tuple[str, ...], xtune: Command, tmp_path: Path
) -> None:
    verb, *more = words
    assert_refused(xtune(verb, tmp_path, *more), "holds neither a run")
    assert_refused(xtune(verb, tmp_path / "none", *more), "There is no folder")


def test_a_run_without_held_out_rows_is_told_how_to_name_some(
    xtune: Command, finished_run: Path
) -> None:
    assert_refused(xtune("evaluate", finished_run), "no held-out rows", "--data")


def test_an_answer_ends_where_the_model_has_no_more_positions(
    xtune: Command, finished_run: Path, held_out_file: Path
) -> None:
    ended = xtune(
        *("evaluate", finished_run, "--data", held_out_file, "--max-rows", 1),
        *("--max-new-tokens", 1_000_000),
    )
    assert ended.code == 0, ended.err
    assert not ended.err, "transformers warns when it leaves the positions"


def test_a_chat_whose_input_has_ended_says_goodbye(
    xtune: Command, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        ended = xtune("chat", finished_run)
    assert (ended.code, ended.err) == (0, "")


def test_a_prompt_that_is_not_utf8_is_refused(xtune: Command, finished_run: Path) -> None:
    prompt = os.fsdecode(b"caf\xe9")
    assert_refused(xtune("chat", finished_run, "--prompt", prompt), "not text in UTF-8")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("recipes",),
        ("recipes", "show", "quickstart"),
        ("check", "{folder}/bad.yaml"),
        *((verb, "{folder}", *more) for verb, *more in NEEDS_A_RESULT),
    ],
    ids=lambda words: words[0],
)
def test_help_and_early_mistakes_import_nothing_heavy(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("model: x\n")
    code = (
        "import sys\nfrom xtune.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(word.format(folder=tmp_path) for word in words)],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = done.stderr.splitlines()[-1] if done.stderr else ""
    assert not set(imported.split(",")) & set(HEAVY)


@pytest.mark.parametrize("command", ["xtune", "selfinstruct"])
def test_both_commands_say_the_version_of_the_package(command: str) -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    (version,) = re.findall(r'^version = "(.+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", command, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{command} {version}\n"


def test_a_check_loads_no_code_of_models_and_adapters(tmp_path: Path) -> None:
    """That code takes more than half of the start: PEFT brings bitsandbytes, and transformers' models torch's compiler."""
    code = (
        "import sys, xtune\n"
        "assert xtune.check('quickstart', ['data.max_rows=4', 'data.evaluate=null']).plan\n"
        "late = ('transformers.modeling_utils', 'torch._dynamo', 'peft', 'bitsandbytes', 'accelerate')\n"
        "print([name for name in late if name in sys.modules])"
    )
    environment = {**os.environ, "XTUNE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_any_text_can_be_printed_where_the_locale_knows_only_ascii(tmp_path: Path) -> None:
    (tmp_path / "uni.yaml").write_text("model: 日本\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "xtune", "recipes", "show", str(tmp_path / "uni.yaml")],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"model: \\u65e5\\u672c\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])  # empty is as if it were not set
def test_closed_and_full_outputs_end_in_words(unbuffered: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    for command, code, words in (
        (f"check {missing} >&-", 2, "There is no file"),
        ("recipes >&-", 0, ""),
        ("recipes >/dev/full", 2, "The disk is full"),
        ("plan quickstart --json >/dev/full", 2, "The disk is full"),  # written by the last flush
    ):
        done = subprocess.run(
            f"'{sys.executable}' -m xtune {command}",
            shell=True,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("library", ["typer", "torch"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_libraries_load_ends_quietly(
    number: signal.Signals, library: str, recipe: Path
) -> None:
    code = (
        # a shell starts background jobs with SIGINT ignored, and the tests may be such a job
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, threading, os, time\n"
        "from xtune.cli.start import main\n"
        "def strike():\n"
        f"    while {library!r} not in sys.modules:\n        time.sleep(0.001)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "threading.Thread(target=strike, daemon=True).start()\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(recipe)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "Interrupted.\n", "")


def test_sigterm_ends_a_chat_that_waits_for_a_question(finished_run: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "xtune", "chat", str(finished_run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout is not None
    assert "Commands" in child.stdout.readline()
    time.sleep(0.2)  # it waits for a question then, or is about to: it ends in the same way
    child.terminate()
    _, err = child.communicate(timeout=300)
    assert (child.returncode, err) == (130, "Interrupted.\n")


def test_a_reader_that_leaves_does_not_end_a_run(recipe: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "xtune", "train", str(recipe)],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    assert done.returncode == 0, done.stderr
    assert (recipe.parent / "run" / "adapter").is_dir()
