"""The table of tasks, and rows in the layouts of the public files: small files of the same shape, made up here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xtune.errors import DataError
from xtune.evaluate.judge import TaskOptions, prepare
from xtune.evaluate.tasks.items import Asked, Drawing
from xtune.evaluate.tasks.table import choose_languages, choose_tasks, read_table, shipped


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def copa(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "premise": f"Lamp {number} fell.",
            "choice1": f"It broke {number}.",
            "choice2": f"Rain came {number}.",
            "question": "effect" if number % 2 == 0 else "cause",
            "label": number % 2,
        }
        for number in range(start, start + count)
    ]


def questions(folder: Path, code: str) -> None:
    paragraphs = [
        {
            "context": f"Paragraph {place}.",
            "qas": [
                {
                    "id": f"arabic-{place}-{number}",
                    "question": f"Question {place}.{number}?",
                    "answers": [{"text": f"answer {place}", "answer_start": 0}] * 2,
                }
                for number in range(3)
            ],
        }
        for place in range(4)
    ]
    path = folder / "xquad" / f"xquad.{code}.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})
    )


def one(folder: Path, task: str, language: str, **drawing: Any) -> Asked:
    options = TaskOptions(languages=(language,), folder=folder, drawing=Drawing(**drawing))
    (asked,), _ = prepare([task], options)
    return asked


def test_xcopa_asks_for_cause_or_effect_in_the_language(tmp_path: Path) -> None:
    write_lines(tmp_path / "xcopa" / "test.it.jsonl", copa(2))
    effect, cause = one(tmp_path, "xcopa", "it").items
    assert effect.question + effect.solution == "Lamp 0 fell quindi it broke 0."
    assert cause.question + cause.solution == "Lamp 1 fell perché rain came 1."


def test_xnli_takes_the_language_out_of_the_file_of_all_and_leaves_quotation_marks(
    tmp_path: Path,
) -> None:
    lines = [
        "language\tgold_label\tsentence1\tsentence2",
        'en\tneutral\tHe said "no.\tHe spoke.',
        "th\tentailment\tx\ty",
        "en\tcontradiction\tIt is red.\tIt is blue.",
    ]
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli" / "xnli.test.tsv").write_text("\n".join(lines) + "\n")
    first, second = one(tmp_path, "xnli", "en").items
    assert first.question + first.solution == 'He said "no, right? Also, He spoke.'
    assert second.choices == ("Yes, It is blue.", "Also, It is blue.", "No, It is blue.")
    assert second.right == 2


def test_pawsx_of_the_same_meaning_is_a_yes(tmp_path: Path) -> None:
    (tmp_path / "pawsx" / "de").mkdir(parents=True)
    (tmp_path / "pawsx" / "de" / "test_2k.tsv").write_text(
        "id\tsentence1\tsentence2\tlabel\n1\tEr ging.\tEr lief.\t1\n2\t\t\t0\n3\tA.\tB.\t0\n"
    )
    same, other = one(tmp_path, "pawsx", "de").items
    assert same.question + same.solution == "Er ging, richtig? Ja, Er lief."
    assert other.solution == "Nein, B."


def test_xwinograd_fills_the_options_into_the_blank(tmp_path: Path) -> None:
    row = {"sentence": "A met B as _ was late.", "option1": "A", "option2": "B", "answer": "2"}
    write_lines(tmp_path / "xwinograd" / "jp.jsonl", [row])
    (item,) = one(tmp_path, "xwinograd", "ja").items
    assert item.contexts == ("A met B as A", "A met B as B")
    assert (item.prompt, item.right) == (" was late.", 1)


def test_questions_on_a_paragraph_have_all_their_right_answers(tmp_path: Path) -> None:
    questions(tmp_path, "th")
    items = one(tmp_path, "xquad", "th", limit=2).items
    assert items[1].prompt == "บริบท: Paragraph 0.\nคำถาม: Question 0.1?\nคำตอบ:"
    assert items[1].references == ("answer 0", "answer 0")


def test_tydiqa_takes_the_language_by_its_name_in_the_id(tmp_path: Path) -> None:
    questions(tmp_path, "any")
    (tmp_path / "tydiqa").mkdir()
    file = tmp_path / "tydiqa" / "tydiqa-goldp-v1.1-dev.json"
    (tmp_path / "xquad" / "xquad.any.json").rename(file)
    assert len(one(tmp_path, "tydiqa", "ar").items) == 12
    with pytest.raises(DataError, match="`tydiqa` has no rows to score in `fi`"):
        one(tmp_path, "tydiqa", "fi")


def test_translations_are_lines_beside_one_another(tmp_path: Path) -> None:
    (tmp_path / "flores").mkdir()
    (tmp_path / "flores" / "eng_Latn.devtest").write_text("One.\nTwo.\n")
    other = tmp_path / "flores" / "vie_Latn.devtest"
    other.write_text("Một.\nHai.\n", encoding="utf-8")
    item = one(tmp_path, "flores", "vi").items[1]
    assert (item.prompt.splitlines()[1], item.references) == ("English: Two.", ("Hai.",))
    assert one(tmp_path, "flores-to-en", "vi").items[0].references == ("One.",)
    other.write_text("Một.\n", encoding="utf-8")
    with pytest.raises(DataError, match="differ in their lines"):
        one(tmp_path, "flores", "vi")


def sgm(path: Path, kind: str, sentences: Sequence[str]) -> Path:
    """A file as WMT published them up to 2020."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f'<{kind} setid="newstest2020" srclang="any" trglang="ja">',
        '<doc sysid="ref" docid="news.1" genre="news" origlang="en">',
        "<p>",
        *(f'<seg id="{number}">{text}</seg>' for number, text in enumerate(sentences, start=1)),
        "</p>",
        "</doc>",
        f"</{kind}>",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_translations_of_wmt_are_those_that_sacrebleu_reads(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    from sacrebleu.dataset.fake_sgml import FakeSGMLDataset

    english = ["  Two  words &amp; <b>more</b>. ", "A < B", "“Yes.”"]
    source = sgm(tmp_path / "sgm" / "newstest2020-enja-src.en.sgm", "srcset", english)
    target = sgm(
        tmp_path / "sgm" / "newstest2020-enja-ref.ja.sgm", "refset", ["二語", "甲", "はい。"]
    )
    read = []
    for path in (source, target):
        FakeSGMLDataset("wmt20")._convert_format(str(path), str(tmp_path / "text"))
        read.append((tmp_path / "text").read_text(encoding="utf-8").split("\n")[:-1])
    items = one(tmp_path, "wmt20", "ja").items
    assert [item.prompt.splitlines()[1].removeprefix("English: ") for item in items] == read[0]
    assert [item.references[0] for item in items] == read[1]
    target.write_text("<refset>\n</refset>\n")
    with pytest.raises(DataError, match="holds no `<seg"):
        one(tmp_path, "wmt20", "ja")


def test_examples_are_drawn_by_seed_from_the_validation_rows_and_never_scored(
    tmp_path: Path,
) -> None:
    write_lines(tmp_path / "xcopa" / "test.vi.jsonl", copa(5))
    # one of the validation rows is a row of the test set, too
    write_lines(tmp_path / "xcopa" / "val.vi.jsonl", copa(6, start=4))
    drawn = [one(tmp_path, "xcopa", "vi", shots=3, seed=seed) for seed in range(12)]
    for asked in drawn:
        assert len(asked.items) == 5
        assert not {item.prompt for item in asked.items} & {shot.prompt for shot in asked.shots}
    assert len({tuple(shot.prompt for shot in asked.shots) for asked in drawn}) > 3
    assert drawn[3].shots == one(tmp_path, "xcopa", "vi", shots=3, seed=3).shots
    with pytest.raises(DataError, match="--shots 6"):
        one(tmp_path, "xcopa", "vi", shots=6)


def test_without_other_rows_examples_leave_the_scored_ones_with_their_paragraphs(
    tmp_path: Path,
) -> None:
    questions(tmp_path, "en")
    asked = one(tmp_path, "xquad", "en", shots=1)
    (shot,) = asked.shots
    assert len(asked.items) == 9  # the three questions on the example's paragraph are gone
    assert asked.taken == 3
    paragraph = shot.prompt.splitlines()[0]
    assert not [item for item in asked.items if item.prompt.startswith(paragraph)]


def test_languages_that_the_folder_lacks_are_told_unless_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    write_lines(tmp_path / "xcopa" / "test.vi.jsonl", copa(2))
    asked, notes = prepare(["xcopa"], TaskOptions(folder=tmp_path))
    assert [each.language for each in asked] == ["vi"]
    assert "has no rows in et, ht" in notes[0]
    asked, notes = prepare(["understanding"], TaskOptions(folder=tmp_path))
    assert [each.name for each in asked] == ["xcopa"]
    assert "has no rows of xwinograd, xnli, pawsx" in notes[0]
    with pytest.raises(DataError) as caught:
        one(tmp_path, "xcopa", "th")
    message = str(caught.value)
    assert "\n" not in message
    for words in ("`xcopa` in `th`", str(tmp_path), "xcopa/test.th.jsonl", "--task-data"):
        assert words in message


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean `xcopa`") as caught:
        choose_tasks(["xcoppa"])
    assert "xquad" in str(caught.value)
    assert set(choose_tasks(["question-answering"])) == {"xquad", "tydiqa"}
    assert set(choose_tasks(["all"])) == set(shipped())
    with pytest.raises(DataError, match="has the language `xx`"):
        choose_languages(choose_tasks(["xcopa"]), ["th", "xx"])
    with pytest.raises(DataError, match="no folder"):
        prepare(["xcopa"], TaskOptions(folder=tmp_path / "absent"))


def test_a_table_of_ones_own_is_a_task_and_its_faults_are_told_together(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"q": "1 + 1", "a": "2"}, {"q": "2 + 2", "a": "4"}])
    table = tmp_path / "sums.yaml"
    entry = (
        "sums:\n  title: Sums\n  area: generation\n  languages: {en: {}}\n  test: [rows.jsonl]\n"
        "  prompt: '{{ q }} ='\n  references: a\n  measures: [exact_match]\n"
    )
    table.write_text(entry)
    asked = one(tmp_path, str(table), "en")
    assert [item.prompt for item in asked.items] == ["1 + 1 =", "2 + 2 ="]
    table.write_text(entry.replace("references: a", "references: b"))
    with pytest.raises(DataError, match="does not fit the task `sums`"):
        one(tmp_path, str(table), "en")
    table.write_text(entry.replace("exact_match", "exact").replace("title", "titel"))
    with pytest.raises(DataError) as caught:
        read_table(table)
    assert "titel" in str(caught.value)
    assert "title" in str(caught.value)
    table.write_text(entry.replace("exact_match", "accuracy"))
    with pytest.raises(DataError, match="accuracy"):
        read_table(table)
    with pytest.raises(DataError, match="cannot be read"):
        choose_tasks([str(tmp_path / "absent.yaml")])
