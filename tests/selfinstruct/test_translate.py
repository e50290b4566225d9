"""Seeds are translated, checked, asked for again, and never written over what a person edited."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from georgian import pretend
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.errors import AccountError, RequestRefused
from selfinstruct.seeds import read_seeds
from selfinstruct.translate import TranslationReport, language_of, translate
from selfinstruct.translate.checks import reasons_against
from selfinstruct.translate.numbers import numbers_in, numbers_meant
from selfinstruct.types import LLM, Reply, Request, Seed, Task, Usage
from xtune.errors import DataError, RunError, XtuneError

SEEDS = read_seeds("en")
SEED = Seed(
    id="one",
    category="x",
    task=Task(
        instruction="Choose the right letter. See https://example.org/help for `code` and {name}.",
        input="A) 9,000 apples\nB) 2 pears",
        output="B",
    ),
    translate="adapt",
    keep=("output",),
    why="The letter stays.",
)
DUTCH = {
    "instruction": "Kies de juiste letter. Op https://example.org/help staat meer over `code` en {name}.",
    "input": "A) 9.000 appels\nB) 2 peren",
    "output": "B",
}


class Translator:
    """An LLM in this process: answers in pretended Georgian, unless the script says otherwise."""

    def __init__(self, script: Callable[[str, int], Any] = lambda _seed, _attempt: None) -> None:
        self.script = script
        self.asked: list[str] = []
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        """As the protocol has it."""
        await asyncio.sleep(0)
        self.asked.append(request.id)
        self.requests.append(request)
        _, _, seed_id, attempt = request.id.split("/")
        said = self.script(seed_id, int(attempt))
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Reply):
            return said
        seed = next(seed for seed in [*SEEDS, SEED] if seed.id == seed_id)
        task = {
            name: getattr(seed.task, name)
            if name in seed.keep
            else pretend(getattr(seed.task, name))
            for name in ("instruction", "input", "output")
        }
        text = json.dumps(said if isinstance(said, dict) else task, ensure_ascii=False)
        usage = Usage(prompt_tokens=100, completion_tokens=50)
        return Reply(text=f"```json\n{text}\n```", usage=usage)


def run(
    folder: Path, llm: LLM, seeds: Sequence[Seed] = SEEDS, to: Sequence[str] = ("ka",)
) -> TranslationReport:
    return asyncio.run(translate(seeds, to=to, folder=folder, llm=llm))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_162_seeds_go_into_a_language_in_their_order_and_nothing_faithful_is_refused(
    tmp_path: Path,
) -> None:
    llm = Translator()
    report = run(tmp_path, llm)
    assert report.languages[0].failed == {}
    assert len(llm.asked) == 162
    assert report.ok
    assert report.usage == Usage(prompt_tokens=16_200, completion_tokens=8_100)
    translated = read_seeds(tmp_path / "ka.jsonl")
    assert [seed.id for seed in translated] == [seed.id for seed in SEEDS if seed.translate != "no"]
    by_id = {seed.id: seed for seed in SEEDS}
    for seed in translated:
        for name in seed.keep:
            assert getattr(seed.task, name) == getattr(by_id[seed.id].task, name)
    again = Translator()
    assert run(tmp_path, again).languages[0].current == [seed.id for seed in translated]
    assert again.asked == []


def test_a_task_is_asked_for_again_with_the_reason_and_then_written(tmp_path: Path) -> None:
    bad = {**DUTCH, "input": "A) 9.000 appels\nB) 3 peren"}
    llm = Translator(lambda _seed, attempt: bad if attempt == 1 else DUTCH)
    report = run(tmp_path, llm, [SEED], ["nl"])
    assert report.ok
    assert llm.asked == ["translate/nl/one/1", "translate/nl/one/2"]
    told = llm.requests[1].messages[-1]["content"]
    assert "the numbers 2 are missing" in told
    assert "the numbers 3 are not in the English text" in told
    assert rows_of(tmp_path / "nl.jsonl")[0]["input"] == DUTCH["input"]


def test_an_order_of_labels_and_the_french_colon_are_no_fault() -> None:
    task = Task(
        instruction="Put the steps of making tea in the right order.",
        input="A: Drink the tea.\nB: Boil the water.\nC: Pour it over the leaves.",
        output="b, c, a, b, c, a",
    )
    seed = Seed(id="tea", category="x", task=task)
    french = {
        "instruction": "Remettez dans le bon ordre les étapes de la préparation du thé.",
        "input": "A\u00a0: Buvez le thé.\nB\u202f: Faites bouillir l’eau.\nC : Versez-la sur les feuilles.",
        "output": "b, c, a, b, c, a",
    }
    assert reasons_against(seed, french, language_of("fr")) == []
    swapped = {**french, "input": french["input"].replace("C :", "D :")}
    assert "the labels of options" in "; ".join(reasons_against(seed, swapped, language_of("fr")))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"output": "C"}, '"output" must be copied letter by letter'),
        ({"input": ""}, '"input" is empty, unlike in the English task'),
        (
            {"input": "A) 9.000 appels\nZ) 2 peren"},
            "the labels of options must stay A, B, but are A, Z",
        ),
        ({"instruction": DUTCH["instruction"].replace("org", "com")}, "web and mail addresses"),
        ({"instruction": DUTCH["instruction"].replace("`code`", "`kode`")}, "the code spans"),
        ({"instruction": DUTCH["instruction"].replace("{name}", "{Name}")}, "the placeholders"),
        ({"instruction": "Kies " + SEED.task.instruction}, "is still in English"),
        ({"instruction": DUTCH["instruction"] * 4}, "characters for"),
        (
            {"instruction": SEED.task.instruction, "input": SEED.task.input},
            "the translation is not in Dutch",
        ),
    ],
)
def test_a_failure_is_told_and_after_the_last_try_reported_and_not_written(
    change: dict[str, str], told: str, tmp_path: Path
) -> None:
    llm = Translator(lambda _seed, _attempt: {**DUTCH, **change})
    report = run(tmp_path, llm, [SEED], ["nl"])
    assert len(llm.asked) == 4
    assert not report.ok
    assert told in "; ".join(report.languages[0].failed["one"])
    assert any(line.startswith("nl: one failed:") for line in report.lines())
    assert rows_of(tmp_path / "nl.jsonl") == []


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(text="Sorry, no."), "holds no JSON object"),
        (Reply(text="{nope}"), "no valid JSON"),
        (Reply(text='{"instruction": "a"}'), '"input" is missing'),
        (Reply(text=json.dumps(DUTCH), finish_reason="length"), "cut off: length"),
        (RequestRefused("request_refused", "too long"), "request_refused: too long"),
    ],
)
def test_answers_without_a_task_are_reported(reply: Any, told: str, tmp_path: Path) -> None:
    report = run(tmp_path, Translator(lambda _seed, _attempt: reply), [SEED], ["nl"])
    assert told in "; ".join(report.languages[0].failed["one"])


def test_a_good_translation_in_native_digits_is_accepted() -> None:
    fields = {
        "instruction": "اختر الحرف الصحيح. انظر https://example.org/help لمعرفة `code` و {name}.",
        "input": "A) ٩٬٠٠٠ تفاحة\nB) ٢ إجاصة",
        "output": "B",
    }
    assert reasons_against(SEED, fields, language_of("ar")) == []


def test_a_language_whose_first_tasks_all_fail_is_left_and_the_others_go_on(tmp_path: Path) -> None:
    english = {"instruction": "I cannot.", "input": "", "output": "I cannot."}
    llm = Translator(lambda _seed, _attempt: english)
    report = run(tmp_path, llm)
    (georgian,) = report.languages
    assert len(llm.asked) == 8 * 4
    assert (len(georgian.failed), georgian.given_up) == (8, 162 - 8)
    assert not report.ok
    assert any("given up, since all of the first 8 tasks failed" in line for line in report.lines())

    def wrong_in_dutch(request: Request) -> Any:
        return english if "/nl/" in request.id else None

    class ByLanguage(Translator):
        async def complete(self, request: Request) -> Reply:
            self.script = lambda _seed, _attempt: wrong_in_dutch(request)
            return await super().complete(request)

    both = run(tmp_path / "both", ByLanguage(), to=["nl", "ka"])
    assert [len(one.translated) for one in both.languages] == [0, 162]
    assert [one.given_up for one in both.languages] == [154, 0]


@pytest.mark.parametrize("right", [0, 7])
def test_one_accepted_task_among_the_first_lets_all_be_asked_for(
    right: int, tmp_path: Path
) -> None:
    english = {"instruction": "I cannot.", "input": "", "output": "I cannot."}
    llm = Translator(lambda seed, _attempt: None if seed == SEEDS[right].id else english)
    (georgian,) = run(tmp_path, llm, SEEDS[:20]).languages
    assert (georgian.translated, len(georgian.failed)) == ([SEEDS[right].id], 19)
    assert georgian.given_up == 0


def test_nothing_is_given_up_where_that_is_asked_for(tmp_path: Path) -> None:
    llm = Translator(lambda _seed, _attempt: RequestRefused("request_refused", "no"))
    report = asyncio.run(
        translate(SEEDS[:20], to=["ka"], folder=tmp_path, llm=llm, give_up_after=0)
    )
    assert len(report.languages[0].failed) == len(llm.asked) == 20


def test_an_edited_task_is_never_translated_again(tmp_path: Path) -> None:
    run(tmp_path, Translator(), SEEDS[:4])
    path = tmp_path / "ka.jsonl"
    rows = rows_of(path)
    rows[1]["output"] = "ხელით შესწორებული"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    changed = [
        Seed(
            id=seed.id,
            category=seed.category,
            task=Task(
                instruction=seed.task.instruction + " Hurry.",
                input=seed.task.input,
                output=seed.task.output,
            ),
        )
        for seed in SEEDS[:2]
    ]
    llm = Translator()
    report = run(tmp_path, llm, [*changed, *SEEDS[2:4]]).languages[0]
    assert (report.again, report.edited, report.outdated) == (
        [SEEDS[0].id],
        [SEEDS[1].id],
        [SEEDS[1].id],
    )
    assert llm.asked == [f"translate/ka/{SEEDS[0].id}/1"]
    assert [row["id"] for row in rows_of(path)] == [seed.id for seed in SEEDS[:4]]
    assert rows_of(path)[1]["output"] == "ხელით შესწორებული"
    assert any("the edited translation was kept" in line for line in report.lines())


def test_a_stopped_translation_goes_on_and_keeps_what_it_has(tmp_path: Path) -> None:
    def dead_key(seed: str, _attempt: int) -> Exception | None:
        return AccountError("The key is wrong.") if seed == SEEDS[9].id else None

    with pytest.raises(AccountError):
        run(tmp_path, Translator(dead_key), SEEDS[:20])
    done = {row["id"] for row in rows_of(tmp_path / "ka.jsonl")}
    llm = Translator()
    run(tmp_path, llm, SEEDS[:20])
    assert len(llm.asked) == 20 - len(done)
    whole = run(tmp_path / "whole", Translator(), SEEDS[:20])
    assert (tmp_path / "ka.jsonl").read_bytes() == whole.languages[0].path.read_bytes()


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_torn_last_line_is_cut_said_and_translated_again(cut: int, tmp_path: Path) -> None:
    run(tmp_path, Translator(), SEEDS[:3])
    path = tmp_path / "ka.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    llm = Translator()
    report = run(tmp_path, llm, SEEDS[:3])
    assert path.read_bytes() == whole
    assert len(llm.asked) == (0 if cut == 1 else 1)
    assert any("bytes of a torn last line" in line for line in report.lines()) == (cut > 1)


def test_a_file_edited_into_nonsense_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ka.jsonl"
    path.write_text('{"id": "a"\n{}\n')
    with pytest.raises(DataError, match=r"ka\.jsonl:1"):
        run(tmp_path, Translator())
    assert path.read_text() == '{"id": "a"\n{}\n'


def test_a_set_that_ships_is_used_as_it_is(tmp_path: Path) -> None:
    llm = Translator()
    report = run(tmp_path, llm, to=["en"])
    assert report.languages[0].shipped
    assert llm.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_second_translation_into_one_folder_is_refused_until_the_first_is_gone(
    tmp_path: Path,
) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, time; from xtune.run.lock import take_lock; "
            "take_lock(pathlib.Path(sys.argv[1]), advice=''); print('held', flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=rf"in use by another run \(process {holder.pid}\)"):
        run(tmp_path, Translator(), [SEED])
    holder.kill()
    holder.communicate()

    assert run(tmp_path, Translator(), [SEED]).languages[0].translated == ["one"]


def test_an_unknown_language_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    llm = Translator()
    with pytest.raises(XtuneError, match=r"no language `xx`.*languages\.yaml"):
        run(tmp_path, llm, to=["ka", "xx"])
    assert llm.asked == []


def test_a_country_that_is_taken_for_a_language_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(XtuneError, match=r"no language `jp`.*") as told:
        run(tmp_path, Translator(), to=["jp"])
    assert "Did you mean `ja`?" in str(told.value)


def test_a_region_has_the_entry_of_its_language() -> None:
    assert language_of("es-MX").english == "Spanish"
    assert language_of("pt-BR").english == "Brazilian Portuguese"
    assert language_of("nb").native == "norsk bokmål"


def test_a_folder_that_is_a_file_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(XtuneError, match="could not be written"):
        run(tmp_path / "file", Translator())


def test_translation_goes_through_a_real_server_that_fails_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripted_llm import Say, ScriptedLLM, completion, serving

    from selfinstruct.llm.server import ServerLLM
    from selfinstruct.llm.settings import LLMSettings

    def answer(number: int, body: dict[str, Any]) -> Say:
        if number % 5 == 2:
            return Say(status=500, body="no")
        task, _ = json.JSONDecoder().raw_decode(body["messages"][1]["content"])
        told = {name: pretend(text) for name, text in task.items()}
        return Say(body=completion(json.dumps(told)))

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    seeds = [seed for seed in SEEDS if seed.translate == "yes"][:12]
    with serving(ScriptedLLM(answer)) as server:
        llm = ServerLLM(LLMSettings(model="scripted", base_url=server.url))

        async def ask() -> TranslationReport:
            report = await translate(seeds, to=["ka"], folder=tmp_path, llm=llm)
            await llm.close()
            return report

        report = asyncio.run(ask())
    assert report.ok
    assert len(server.requests) > 12
    assert [row["id"] for row in rows_of(tmp_path / "ka.jsonl")] == [seed.id for seed in seeds]


def test_a_damaged_file_beside_the_seeds_is_one_line(tmp_path: Path) -> None:
    asyncio.run(translate(SEEDS[:2], to=["ka"], folder=tmp_path, llm=Translator()))
    made = tmp_path / ".ka.made.jsonl"
    for damage in ("no JSON\n", "[]\n", '{"id": "seed-001"}\n'):
        made.write_text(damage, encoding="utf-8")
        with pytest.raises(RunError, match=r"ka\.made\.jsonl is damaged"):
            asyncio.run(translate(SEEDS[:2], to=["ka"], folder=tmp_path, llm=Translator()))


def test_progress_is_told_for_every_task(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    asyncio.run(
        translate(
            SEEDS[:3],
            to=["ka"],
            folder=tmp_path,
            llm=Translator(),
            progress=lambda *it: told.append(it),
        )
    )
    assert told == [("ka", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("9,000 and 2.5", ["9000", "25"]),
        ("９ ２", ["9", "2"]),
        ("٩٬٠٠٠ و ٢٫٥", ["9000", "25"]),
        ("๑๔:๕๒", ["14", "52"]),
        ("10 000 km", ["10000"]),
        ("2021年5月3日", ["2021", "5", "3"]),
        ("half a dozen", []),
    ],
)
def test_numbers_are_found_in_any_digits(text: str, numbers: list[str]) -> None:
    assert sorted(numbers_in(text).elements()) == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("two hundred trees", {"2", "100", "200"}),
        ("on 3 May 2021", {"5"}),
        ("half past nine", {"9", "30"}),
        ("twenty-four hours", {"24"}),
        ("the first of March", {"1", "3"}),
    ],
)
def test_words_that_mean_numbers_may_become_digits(text: str, meant: set[str]) -> None:
    assert meant <= set(numbers_meant(text).elements())


@given(st.text(), st.text(), st.text(), st.sampled_from(["de", "th", "ja", "ar"]))
def test_no_answer_makes_the_checks_fail(first: str, second: str, third: str, code: str) -> None:
    fields = {"instruction": first, "input": second, "output": third}
    assert all(
        isinstance(reason, str) for reason in reasons_against(SEED, fields, language_of(code))
    )
