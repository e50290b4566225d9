"""`selfinstruct run` as a process against a server on loopback: kills, faults, limits, and the pool that must not change."""

import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from awaited import PATIENCE_S, wait_for
from scripted_llm import Say, ScriptedLLM, completion, serving, tasks_text

from selfinstruct.novelty import NoveltyPool
from selfinstruct.parse import parse_reply
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.report.progress import Lines
from selfinstruct.report.stats import read_stats
from selfinstruct.run.verbs import run_recipe
from selfinstruct.seeds import shipped_seeds
from xtune.errors import XtuneError

SEEDS = shipped_seeds("en")
KEY = "sk-a-very-secret-key-1234567890"


def recipe(folder, server, **more):
    """A small run in two languages, as arguments of the command."""
    path = folder / "recipe.yaml"
    path.write_text(
        "languages: [en, es]\n"
        f"llm: {{model: scripted, base_url: '{server.url}', output: text}}\n"
        "generate: {rounds: 3, first_round_prompts: 4, prompts_per_round: 8}\n"
        f"seeds: {SEEDS}\n"
        "rules: {wrong_language: false}\n"
        f"run: {{folder: {folder / 'run'}}}\n",
        encoding="utf-8",
    )
    return [str(path), *(f"{name.replace('__', '.')}={value}" for name, value in more.items())]


AS_IT_IS = ("-m", "selfinstruct")
ON_A_SLOW_DISK = (
    "-c",
    "import os, time; sync = os.fsync; os.fsync = lambda file: (time.sleep(0.3), sync(file));"
    "from selfinstruct.cli.start import main; main()",
)


def start(arguments, program=AS_IT_IS, **more):
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *program, "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **more,
    )


def finish(process, timeout=300):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def run(arguments, **more):
    return finish(start(arguments, **more))


def wait_for_requests(server, count, process):
    """Until the server was asked so often, or the process is gone."""
    wait_for(lambda: len(server.requests) >= count or process.poll() is not None)


def inside(arguments):
    """The same in this process, which is faster where no signal is sent."""
    stream = io.StringIO()
    try:
        outcome = run_recipe(arguments[0], arguments[1:], show=Lines(stream))
    except XtuneError as error:
        return 2, "", f"{stream.getvalue()}{error}"
    return 0, str(outcome), stream.getvalue()


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def pools(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "run" / "pool").iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The pool of a run that nobody disturbed, one request at a time."""
    folder = tmp_path_factory.mktemp("whole")
    with serving(ScriptedLLM()) as server:
        code, out, err = inside(recipe(folder, server, llm__concurrency=1))
    assert code == 0, err
    assert "tasks kept" in out
    return pools(folder)


def test_the_pool_holds_every_piece_of_every_reply(whole):
    rows = [json.loads(line) for line in whole["es.jsonl"].splitlines()]
    counts = Counter(row["event"] for row in rows)

    assert counts["reply"] == 4 + 8 + 8
    assert counts["kept"] + counts["dropped"] == 20 * 17
    assert counts["kept"] > 200
    assert Counter(row["reason"] for row in rows if row["event"] == "dropped")["too_similar"] > 20
    ids = [row["id"] for row in rows if row["event"] == "kept"]
    assert ids == [f"es-{number:06}" for number in range(1, len(ids) + 1)]
    assert [row["prompt"] for row in rows if row["event"] == "reply"] == sorted(
        {row["prompt"] for row in rows}
    )


def test_the_pool_is_the_same_at_any_concurrency_and_through_faults(whole, tmp_path):
    def faulty(number, _):
        return [Say(status=500, body="x"), Say(body=completion("cut"), cut_after=9), None][
            min(number % 7, 2)
        ]

    jitter = random.Random(5)
    with serving(ScriptedLLM(faulty)) as server:
        server.script = lambda number, body: (
            faulty(number, body)
            or Say(
                body=completion(tasks_text(body["messages"][0]["content"])),
                delay_s=jitter.random() / 10,
            )
        )
        code, _, err = inside(recipe(tmp_path, server, llm__concurrency=64))
    assert code == 0, err
    assert pools(tmp_path) == whole


def workers_of(process):
    """The processes that read replies for a run, but those that are just gone."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is none to psutil either
                if "selfinstruct.generate.workers" in " ".join(child.cmdline()):
                    found.append(child)
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_the_pool_is_the_same_with_any_number_of_processes_that_read(whole, tmp_path, workers):
    with serving(ScriptedLLM()) as server:
        code, _, err = inside(recipe(tmp_path, server, run__workers=workers))
    assert code == 0, err
    assert pools(tmp_path) == whole


def test_a_process_that_reads_may_be_killed_and_the_run_goes_on_to_the_same_pool(whole, tmp_path):
    with serving(ScriptedLLM(delay_s=0.2)) as server:
        process = start(recipe(tmp_path, server, run__workers=2, llm__concurrency=4))
        killed = set()
        for requests in (4, 12, 20):
            wait_for_requests(server, requests, process)
            wait_for(lambda: workers_of(process) or process.poll() is not None)
            for worker in workers_of(process)[:1]:
                worker.kill()
                killed.add(worker.pid)
        code, _, err = finish(process)
    assert code == 0, err
    assert len(killed) == 3
    assert pools(tmp_path) == whole


def test_processes_that_go_on_dying_end_the_run_in_one_line_and_it_goes_on(whole, tmp_path):
    with serving(ScriptedLLM()) as server:
        arguments = recipe(tmp_path, server)
        process = start([*arguments, "run.workers=1"])
        limit = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < limit:
            for worker in workers_of(process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
        code, _, err = finish(process)
        assert code == 2
        assert "The process that reads replies ended by signal 9, 5 times in a row." in err
        assert "set run.workers to a smaller number" in err
        assert "Traceback" not in err
        assert inside(arguments)[0] == 0
    assert pools(tmp_path) == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_no_process_that_reads_outlives_its_run_or_knows_the_key(tmp_path, number):
    with serving(ScriptedLLM(delay_s=0.3)) as server:
        # so many rounds that it is far from its end
        process = start(
            recipe(tmp_path, server, run__workers=2, llm__concurrency=4, generate__rounds=99)
        )
        wait_for_requests(server, 8, process)
        wait_for(lambda: len(workers_of(process)) == 2 or process.poll() is not None)
        workers = workers_of(process)
        assert len(workers) == 2
        for worker in workers:
            assert KEY not in worker.environ().values()
        process.send_signal(number)
        finish(process)
    gone, alive = psutil.wait_procs(workers, timeout=300)
    assert not alive
    assert len(gone) == 2


def written_replies(folder):
    """Whole lines of the journal."""
    path = folder / "run" / "replies.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_often(
    folder, kills, *, delay_s, most_s, seed, replies_a_kill=40, program=AS_IT_IS, **more
):
    """Run to the end with SIGKILLs at random times; returns the server and how often it was killed.

    No kill may take more replies than requests that were under way, which are 4.
    """
    draw = random.Random(seed)
    answered = done = 0

    def paced(_, body):
        nonlocal answered
        if answered < (done + 1) * replies_a_kill:
            answered += 1
            return None
        return Say(body=completion(tasks_text(body["messages"][0]["content"])), delay_s=60)

    with serving(ScriptedLLM(paced, delay_s=delay_s)) as server:
        arguments = recipe(folder, server, llm__concurrency=4, **more)
        while done < kills:
            process = start(arguments, program)
            # from the first request on: before that there is nothing to lose
            wait_for_requests(server, len(server.requests) + 1, process)
            time.sleep(draw.uniform(0, most_s))
            if process.poll() is not None:
                finish(process)
                break
            process.send_signal(signal.SIGKILL)
            finish(process)
            done += 1
            assert sum(server.paid.values()) - written_replies(folder) <= 4 * done
        server.script = None
        code, _, err = inside(arguments)
        assert code == 0, err
        assert written_replies(folder) == 40
        assert sum(server.paid.values()) <= 40 + 4 * done
        return server, done


@pytest.mark.parametrize("program", [AS_IT_IS, ON_A_SLOW_DISK], ids=["", "slow disk"])
def test_a_run_killed_three_times_ends_with_the_same_pool_and_pays_for_no_written_reply_twice(
    whole, tmp_path, program
):
    _, kills = killed_often(
        # the server holds back, so that the run does not end before the third on a busy machine
        tmp_path,
        3,
        delay_s=0.05,
        most_s=0.4,
        seed=1,
        replies_a_kill=12,
        program=program,
    )

    assert kills == 3
    assert pools(tmp_path) == whole
    lines = (tmp_path / "run" / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 40


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_fifty_kills_over_one_run_leave_the_same_pool(whole, tmp_path, workers):
    # the server holds back, so that the run of 40 replies lasts for all fifty
    _, kills = killed_often(
        tmp_path, 50, delay_s=0.05, most_s=0.2, seed=2, replies_a_kill=0.75, run__workers=workers
    )

    assert kills == 50
    assert pools(tmp_path) == whole


@pytest.mark.parametrize("cut_bytes", [1, 100, 5000])
def test_a_torn_end_is_mended_and_said(whole, tmp_path, cut_bytes):
    with serving(ScriptedLLM()) as server:
        arguments = recipe(tmp_path, server)
        assert inside(arguments)[0] == 0
        asked = len(server.requests)
        for path in (tmp_path / "run" / "pool" / "es.jsonl", tmp_path / "run" / "replies.jsonl"):
            os.truncate(path, path.stat().st_size - cut_bytes)
        code, _, err = inside(arguments)
        assert code == 0
        assert len(server.requests) - asked in {1, 2}  # the replies that were torn

    assert "was cut off" in err
    assert pools(tmp_path) == whole


def test_a_run_goes_on_to_more_rounds_as_if_it_had_been_asked_for_them_at_first(whole, tmp_path):
    with serving(ScriptedLLM()) as server:
        assert inside(recipe(tmp_path, server, generate__rounds=1))[0] == 0
        assert inside(recipe(tmp_path, server, generate__target=50))[0] == 0
        assert inside(recipe(tmp_path, server))[0] == 0
    assert pools(tmp_path) == whole


def test_a_target_stops_with_the_reply_that_reaches_it(whole, tmp_path):
    with serving(ScriptedLLM()) as server:
        code, _, _ = inside(recipe(tmp_path, server, generate__target=60))
        assert code == 0
        assert len(server.requests) <= 20
    for name, data in pools(tmp_path).items():
        assert whole[name].startswith(data)
        assert 60 <= data.count(b'"event": "kept"') <= 60 + 16


def test_a_budget_and_a_token_limit_are_kept_and_the_run_goes_on_later(whole, tmp_path):
    with serving(ScriptedLLM()) as server:
        arguments = recipe(tmp_path, server, llm__price="{prompt: 1, completion: 2}")
        code, out, _ = run([*arguments, "--budget", "0.03USD"])
        assert code == 0
        assert "The budget of 0.03 USD is used up" in out
        paid = sum(server.paid.values()) * (500 * 1 + 700 * 2) / 1e6
        assert 0.01 < paid <= 0.03
        code, out, _ = inside([*arguments, "limits.max_tokens_total=40000"])
        assert "limit of 40,000 tokens" in out
        assert sum(server.paid.values()) * 1200 <= 40000
        assert inside(arguments)[0] == 0
    assert pools(tmp_path) == whole


def test_keep_ties_keeps_what_reaches_the_threshold_and_does_not_exceed_it(tmp_path):
    # seven of ten words in common: rouge_score gives exactly 0.7
    tasks = (
        "4. Instruction: Name seven old bridges across the wide river near town\n"
        "4. Input: <noinput>\n4. Output: The stone one and six others of wood.\n"
        "5. Instruction: Name seven old bridges across the wide lake behind mountains\n"
        "5. Input: <noinput>\n5. Output: The lake has none that anybody knows of."
    )

    def kept(folder, *more):
        folder.mkdir()
        with serving(ScriptedLLM(lambda *_: Say(body=completion(tasks)))) as server:
            code, _, err = run([*recipe(folder, server, languages="[en]"), "--target", "1", *more])
        assert code == 0, err
        return pools(folder)["en.jsonl"].count(b'"event": "kept"')

    assert kept(tmp_path / "usual") == 1
    assert kept(tmp_path / "ties", "--keep-ties") == 2


def test_ctrl_c_keeps_what_is_under_way_and_says_how_to_go_on(whole, tmp_path):
    with serving(ScriptedLLM(delay_s=0.3)) as server:
        arguments = recipe(tmp_path, server, llm__concurrency=4)
        process = start(arguments)
        wait_for_requests(server, 6, process)
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
        assert code == 130
        assert "The same command goes on from here." in err
        assert "Traceback" not in err
        lines = (tmp_path / "run" / "replies.jsonl").read_bytes().count(b"\n")
        assert lines == sum(server.paid.values())
        assert inside(arguments)[0] == 0
    assert pools(tmp_path) == whole


def test_a_second_ctrl_c_leaves_what_is_under_way(tmp_path):
    with serving(ScriptedLLM(delay_s=60)) as server:
        process = start(recipe(tmp_path, server))
        wait_for_requests(server, 1, process)
        process.send_signal(signal.SIGINT)
        while "Ctrl-C again leaves them" not in (line := process.stderr.readline()):
            assert line, "it ended without saying what a second Ctrl-C does"
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process, timeout=300)
    assert code == 130
    assert "The same command goes on from here." in err


def test_a_run_that_was_stopped_for_longer_than_its_timeout_takes_the_answers_that_came(tmp_path):
    timeout_s = 10
    with serving(ScriptedLLM(delay_s=1)) as server:
        arguments = recipe(tmp_path, server, llm__concurrency=8, llm__timeout_s=timeout_s)
        process = start(arguments)
        wait_for_requests(server, 8, process)
        time.sleep(0.3)  # now it waits for the answers and does nothing else
        process.send_signal(signal.SIGSTOP)
        time.sleep(timeout_s + 1)
        process.send_signal(signal.SIGCONT)
        code, _, err = finish(process)
    assert code == 0, err
    assert set(server.paid.values()) == {1}


def test_a_second_run_on_the_folder_is_refused(tmp_path):
    with serving(ScriptedLLM(delay_s=60)) as server:
        arguments = recipe(tmp_path, server)
        first = start(arguments)
        wait_for_requests(server, 1, first)
        code, _, err = inside(arguments)
        assert code == 2
        assert f"is in use by another run (process {first.pid})" in err
        first.send_signal(signal.SIGKILL)
        finish(first)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(whole, tmp_path):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    with serving(ScriptedLLM(delay_s=0.05)) as server:
        arguments = recipe(tmp_path, server, llm__concurrency=4)
        code, _, err = run(arguments, preexec_fn=little_room)
        assert code == 2
        assert "the disk is full" in err
        assert "Traceback" not in err
        assert sum(server.paid.values()) - written_replies(tmp_path) <= 4
        assert inside(arguments)[0] == 0
    assert pools(tmp_path) == whole


def test_the_key_is_in_no_file_and_no_output(tmp_path):
    with serving(
        ScriptedLLM(
            lambda number, _: (
                Say(body=completion(f"1. Instruction: {KEY}")) if number == 1 else None
            )
        )
    ) as server:
        process = start(recipe(tmp_path, server))
        title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        _, out, err = finish(process)
        server.script = lambda *_: Say(status=401, body={"error": {"message": f"bad key {KEY}"}})
        code, more_out, more_err = inside(recipe(tmp_path, server, generate__rounds=4))
    assert code == 2
    assert f"bearer {KEY}" in server.keys
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written + title
    assert KEY not in out + err + more_out + more_err


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": "no"}}, "does not accept the API key"),
        (402, "", "no money or quota left"),
    ],
)
def test_a_wrong_key_or_an_empty_account_is_one_line(tmp_path, status, body, words):
    with serving(ScriptedLLM(lambda *_: Say(status=status, body=body))) as server:
        code, _, err = inside(recipe(tmp_path, server))
    assert code == 2
    assert words in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_language_into_which_nothing_can_be_translated_stops_the_run(tmp_path):
    with serving(ScriptedLLM()) as server:
        code, _, err = inside(recipe(tmp_path, server, languages="[nl]", seeds="null"))
    assert code == 2
    assert "No seed could be translated into nl" in err.splitlines()[-1]


def test_a_run_that_kept_nothing_says_where_to_look(tmp_path):
    answer = Say(body=completion("1. Instruction: Sing.\n1. Output:"))
    with serving(ScriptedLLM(lambda *_: answer)) as server:
        code, out, _ = inside(recipe(tmp_path, server, generate__rounds=1))
    assert code == 0
    assert out.splitlines()[-1] == (
        f"Nothing to export. See why: selfinstruct stats {tmp_path / 'run'} --examples 3"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"event": "kept"', '"event": "keep"'),
        ('"prompt": "en/', '"prompt": "'),
        ('"input": "', '"entry": "'),
        ('"finish_reason": "stop"', '"finish_reason": 1'),
        ('"prompt_tokens": ', '"prompt_tokens": "many", "was": '),
    ],
)
def test_a_pool_that_was_edited_into_no_pool_is_one_line_for_every_verb(whole, tmp_path, old, new):
    folder = tmp_path / "run"
    (folder / "pool").mkdir(parents=True)
    text = whole["en.jsonl"].decode()
    assert old in text
    (folder / "pool" / "en.jsonl").write_text(text.replace(old, new, 1), encoding="utf-8")
    (folder / "recipe.yaml").write_text("languages: [en]\n", encoding="utf-8")
    said = re.escape(f"{folder / 'pool' / 'en.jsonl'} holds a line that no run wrote, at byte ")

    with pytest.raises(XtuneError, match=said):
        read_stats(folder)
    with pytest.raises(XtuneError, match=said):
        LanguagePool(folder / "pool" / "en.jsonl", NoveltyPool("en"), [])


def test_seeds_that_all_leave_no_room_for_an_answer_are_told_and_nothing_is_asked(tmp_path):
    with serving(ScriptedLLM()) as server:
        code, _, err = inside(recipe(tmp_path, server, llm__context_tokens=2600))
        assert not server.requests
    assert code == 2
    assert err.endswith(
        "None of the 175 seeds of en fits into llm.context_tokens=2,600 beside the prompt and "
        "llm.answer_tokens=2,560. Lower llm.answer_tokens, or raise llm.context_tokens if the model has more."
    )


def test_a_server_that_holds_to_a_schema_is_asked_for_json(tmp_path):
    def as_json(_, body):
        assert body["response_format"]["type"] == "json_schema"
        prompt = body["messages"][0]["content"]
        if "Which number" in prompt:
            return Say(body=completion('{"number": 7}'))
        assert prompt.endswith("}, ...]}.")
        tasks = [vars(task) for task in parse_reply(tasks_text(prompt)).tasks]
        return Say(body=completion(json.dumps({"tasks": tasks})))

    with serving(ScriptedLLM(as_json)) as server:
        code, _, err = inside(recipe(tmp_path, server, llm__output="auto", generate__rounds=1))
    assert code == 0, err
    rows = [json.loads(line) for line in pools(tmp_path)["en.jsonl"].splitlines()]
    assert Counter(row["event"] for row in rows)["kept"] > 40


def test_replies_in_another_language_are_dropped_and_counted(tmp_path):
    with serving(ScriptedLLM()) as server:
        arguments = recipe(tmp_path, server, rules__wrong_language="true", generate__rounds=1)
        code, _, err = inside(arguments)
    assert code == 0, err
    stats = read_stats(tmp_path / "run")
    assert stats["es"].drops["wrong_language"] > 60 > 2 * stats["es"].kept
    assert stats["en"].drops["wrong_language"] == 0


def test_a_recipe_that_was_wrong_may_be_corrected_in_its_folder(tmp_path):
    with serving(ScriptedLLM()) as server:
        code, _, err = inside(recipe(tmp_path, server, generate__prompt="nowhere.txt"))
        assert code == 2
        assert "nowhere.txt cannot be read" in err
        assert not server.requests
        assert inside(recipe(tmp_path, server, generate__rounds=1))[0] == 0
        code, _, err = inside(recipe(tmp_path, server, generate__seed=1))
    assert code == 2
    assert "different now: generate.seed" in err
