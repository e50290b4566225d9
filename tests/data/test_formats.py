"""Formats: what rows become, what is refused, and that nothing else can happen."""

from pathlib import Path
from typing import Any

import pytest
from file_rows import read_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.data.problems import Problems
from xtune.data.rows import Recogniser, RowReader
from xtune.data.sources import find_files
from xtune.data.types import Conversation, Document, Message, Origin, Record
from xtune.errors import DataError
from xtune.recipe import Source

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "formats"


def rows(
    *values: Any, format: str = "auto", columns: dict[str, str] | None = None
) -> list[Conversation | Document]:
    records = [
        Record(value=v, origin=Origin(source="a.jsonl", row=n, line=n + 1))
        for n, v in enumerate(values)
    ]
    problems = Problems()
    reader = Recogniser(records, "a.jsonl", format, columns or {})
    read = [row for _, row in reader.convert_all(records, problems)]
    problems.raise_any()
    return read


def turns(row: Conversation | Document) -> list[tuple[str, str]]:
    assert isinstance(row, Conversation)
    return [(message.role, message.content) for message in row.messages]


QA = [("user", "Q"), ("assistant", "A")]
LONG = [("system", "S"), ("user", "q"), ("assistant", "a"), *QA]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, QA),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], QA),
        ({"messages": '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]'}, QA),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, QA),
        ({"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, QA),
        ({"conversation": [{"human": "q", "assistant": "a"}, {"human": "Q", "assistant": "A"}], "system": "S"}, LONG),
        ({"instruction": "Q", "input": "", "output": "A"}, QA),
        ({"instruction": "Q", "output": "A", "text": "the whole of it"}, QA),
        ({"instruction": "Q", "input": "I", "output": "A"}, [("user", "Q\nI"), ("assistant", "A")]),
        ({"instruction": "", "input": "I", "output": "A"}, [("user", "I"), ("assistant", "A")]),
        ({"instruction": "Q", "output": "A", "history": [["q", "a"]], "system": "S"}, LONG),
        ({"instruction": "Q", "output": "A", "history": '[["q", "a"]]', "system": "S", "input": None}, LONG),
        ({"prompt": "Q", "completion": "A"}, QA),
        ({"query": "Q", "response": "A"}, QA),
        ({"query": "Q", "response": "A", "history": [["q", "a"]], "system": "S"}, LONG),
        ({"query": "Q", "response": "A", "history": [], "system": None}, QA),
        ({"conversation": [{"input": "Q", "output": "A"}], "source": "x"}, QA),
        ({"conversations": ["Q", "A"]}, QA),
        ({"conversations": [{"question": "Q", "answer": "A"}]}, QA),
        ({"conversation": [{"role": "user", "content": "Q", "toxic": False}, {"role": "assistant", "content": "A"}]}, QA),
        ({"conversations": [{"from": "system", "value": "S"}, {"from": "USER", "value": "q"}, {"from": "chatgpt", "value": "a"},
                            {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "weight": None}]}, LONG),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "observation", "value": "1"}]}, [("user", "Q"), ("tool", "1")]),
        ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Q"}]},
                       {"role": "assistant", "content": [{"type": "output_text", "text": "A"}]}]}, QA),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}, {"type": "text", "text": "R"}]}]}, [("user", "QR")]),
        ({"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]}, QA),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, {"role": "model", "content": ["A"]}]}, QA),
        ({"messages": [{"role": "Developer", "content": "S"}, {"from": "prompter", "value": "Q"}]}, [("system", "S"), ("user", "Q")]),
        ({"messages": [{"role": "tool", "content": "1"}, {"role": "function", "content": "2"}, {"role": "ipython", "content": "3"}]},
         [("tool", "1"), ("tool", "2"), ("tool", "3")]),
        ({"conversations": [{"from": "tool", "value": "<tool_response>\n{\"sky\": \"clear\"}\n</tool_response>"}]}, [("tool", '{"sky": "clear"}')]),
        ({"conversations": [{"from": "tool", "value": "<tool_response>\n 1\n\n2 \n</tool_response>\n<tool_response>3</tool_response>\n"}]},
         [("tool", " 1\n\n2 "), ("tool", "3")]),
        ({"conversations": [{"from": "tool", "value": "<tool_response>1</tool_response> and more"}]},
         [("tool", "<tool_response>1</tool_response> and more")]),
        ({"conversations": [{"from": "gpt", "value": "<tool_response>1</tool_response>"}]}, [("assistant", "<tool_response>1</tool_response>")]),
    ],
)  # fmt: skip
def test_known_shapes_become_conversations(value: Any, expected: list[tuple[str, str]]) -> None:
    assert turns(rows(value)[0]) == expected


@pytest.mark.parametrize("value", ["T", {"text": "T"}, {"text": "T", "url": "u"}])
def test_texts_become_documents(value: Any) -> None:
    (row,) = rows(value)
    assert isinstance(row, Document)
    assert row.text == "T"


def test_columns_are_ours_to_the_files() -> None:
    (row,) = rows(
        {"question": "Q", "answer": "A"}, columns={"prompt": "question", "completion": "answer"}
    )
    assert turns(row) == QA
    (row,) = rows(
        {"question": "Q", "answer": "A"}, columns={"instruction": "question", "output": "answer"}
    )
    assert turns(row) == QA
    (row,) = rows(
        {"dialog": [{"who": "user", "what": "Q"}, {"who": "assistant", "what": "A"}]},
        columns={"messages": "dialog", "role": "who", "content": "what"},
    )
    assert turns(row) == QA


def test_a_dotted_column_is_what_an_object_holds() -> None:
    columns = {"prompt": "question", "completion": "sql.human_readable"}
    (row,) = rows(
        {"question": "Q", "sql": {"human_readable": "SELECT 1", "sel": 0}}, columns=columns
    )
    assert isinstance(row, Conversation)
    assert [message.content for message in row.messages] == ["Q", "SELECT 1"]
    with pytest.raises(DataError, match="`completion` is null"):
        rows({"question": "Q", "sql": {"sel": 0}}, columns=columns)


def test_a_column_of_reasoning_belongs_to_the_answer() -> None:
    columns = {"prompt": "Question", "completion": "Response", "reasoning_content": "Complex_CoT"}
    (row,) = rows({"Question": "Q", "Response": "A", "Complex_CoT": "Hm"}, columns=columns)
    assert isinstance(row, Conversation)
    assert row.messages[1] == Message(
        role="assistant", content="A", extra={"reasoning_content": "Hm"}
    )


def test_a_pinned_format_goes_before_the_columns() -> None:
    both = {"instruction": "Q", "output": "A", "text": "T"}
    assert isinstance(rows(both, format="text")[0], Document)
    assert turns(rows(both, format="alpaca")[0]) == QA


def test_a_mapped_chosen_column_is_an_answer_like_any() -> None:
    (row,) = rows({"prompt": "Q", "chosen": "A", "rejected": "B"}, columns={"completion": "chosen"})
    assert turns(row) == QA


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
        {"role": "tool_call", "content": '[{"name": "f", "arguments": {"x": 1}}]'},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}], "content": None, "name": None},
    ],
)  # fmt: skip
def test_every_spelling_of_a_tool_call_is_the_same(turn: dict[str, Any]) -> None:
    (row,) = rows({"messages": [{"role": "user", "content": "Q"}, turn]})
    assert isinstance(row, Conversation)
    assert row.messages[1] == Message(role="assistant", content="", extra={"tool_calls": [CALL]})


@pytest.mark.parametrize(
    "tools", ['[{"name": "f"}]', [{"name": "f"}], {"name": "f"}, ['{"name": "f"}'], '["{\\"name\\": \\"f\\"}"]']
)  # fmt: skip
def test_tools_are_kept_with_the_conversation(tools: Any) -> None:
    (row,) = rows({"messages": [{"role": "user", "content": "Q"}], "tools": tools})
    assert isinstance(row, Conversation)
    assert row.tools == ({"name": "f"},)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train", False, 0.0),
        ("weight", 0, 0.0),
        ("weight", 0.25, 0.25),
        ("loss", True, 1.0),
        ("train", None, None),
    ],
)
def test_a_message_may_say_how_much_it_is_trained_on(
    key: str, value: Any, expected: float | None
) -> None:
    (row,) = rows({"messages": [{"role": "assistant", "content": "A", key: value}]})
    assert isinstance(row, Conversation)
    assert row.messages[0].weight == expected


USER = {"role": "user", "content": "Q"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference pairs"),
        ({"prompt": "Q", "completion": "A", "label": True}, "KTO"),
        ({"messages": [USER], "kto_tag": 1}, "KTO"),
        ({"query": "Q", "response": "A", "rejected_response": "B"}, "preference pairs"),
        (
            {"query": "<img>a.png</img>What?", "response": "A"},
            "Message 0 names a file in `<img>`.*trains on text alone",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "part of type `input_audio`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "name": "f"}]}]},
            r"content\[0\]` is an object",
        ),
        (
            {"messages": [{"role": "assistant", "content": "A", "weight": 10**400}]},
            "weight` is the number 1000",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"name": "f", "arguments": '"\\ud800"'}]}
                ]
            },
            "half a surrogate pair",
        ),
        (
            {"messages": '[{"role": "user", "content": "\\ud800"}]'},
            "`messages` holds half a surrogate pair",
        ),
        ({"messages": ["Q", "A"]}, r"`messages\[0\]` is the text 'Q'"),
        ({"premise": "P", "label": "L"}, r"columns: \{prompt: premise, completion: label\}"),
        ({"question": "Q", "answer": "A"}, r"columns: \{prompt: question, completion: answer\}"),
        ({"body": "T"}, r"columns: \{text: body\}"),
        ({"a": 1}, "columns `a` fit no known format.*messages: `messages`"),
        (
            {"messages": [USER], "images": ["x.png"]},
            "`images` is a list of 1.*trains on text alone",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "part of type `image_url`",
        ),
        ({"messages": []}, r"`messages` is an empty list \(a.jsonl:1\)"),
        ({"messages": "nonsense"}, "`messages` is the text 'nonsense'"),
        ({"messages": [7]}, r"`messages\[0\]` is the number 7"),
        (
            {"messages": [{"role": "king", "content": "Q"}]},
            r"`messages\[0\].role` is the text 'king'.*one of system",
        ),
        ({"messages": [{"role": None, "content": "Q"}]}, r"role` is nothing"),
        ({"messages": [{"content": "Q"}]}, "no `role`"),
        ({"messages": [{"role": "user"}]}, "no `content`"),
        (
            {"messages": [{"role": "user", "content": None}]},
            r"`messages\[0\].content` is nothing \(null\)",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "content` is the number 5"),
        (
            {"messages": [{"role": "user", "content": "Q", "weight": -0.5}]},
            "weight` is the number -0.5.*not negative",
        ),
        (
            {"messages": [{"role": "user", "content": "Q", "train": "yes"}]},
            "train` is the text 'yes'",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "a tool call with a `name`",
        ),
        ({"messages": [USER], "system": "S", "tools": "nonsense"}, "`tools` is the text"),
        (
            {"messages": [{"role": "system", "content": "S"}], "system": "S"},
            "beside a system message",
        ),
        ({"instruction": "Q", "output": 5}, "`output` is the number 5.*a text"),
        ({"instruction": "Q", "output": "A", "history": [["q"]]}, r"`history\[0\]` is a list of 1"),
        ({"text": {"a": 1}}, "`text` is an object"),
    ],
)
def test_what_does_not_fit_is_told_with_field_and_finding(value: Any, words: str) -> None:
    with pytest.raises(DataError, match=f"(?s){words}") as caught:
        rows(value)
    assert "a.jsonl" in str(caught.value)


def test_faulty_rows_among_good_ones_are_told_together() -> None:
    with pytest.raises(DataError) as caught:
        rows(
            {"prompt": "Q", "completion": "A"},
            {"prompt": "Q"},
            {"prompt": None, "completion": "A"},
            [1],
        )
    assert [problem.where for problem in caught.value.problems] == [
        "a.jsonl:2",
        "a.jsonl:3",
        "a.jsonl:4",
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"promt": "a"}, "names `promt`.*[Dd]id you mean `prompt`"),
        (
            {"prompt": "qestion"},
            "`qestion`, which the file does not have.*[Dd]id you mean `question`",
        ),
    ],
)
def test_wrong_columns_are_told_with_near_names(columns: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=f"(?s){words}"):
        rows({"question": "Q", "answer": "A"}, columns=columns)


GOOD: list[dict[str, Any]] = [
    {
        "messages": [USER, {"role": "assistant", "content": "A", "tool_calls": [CALL]}],
        "tools": [{"name": "f"}],
    },
    {
        "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}],
        "system": "S",
    },
    {"instruction": "Q", "input": "I", "output": "A", "history": [["q", "a"]]},
    {"prompt": "Q", "completion": "A"},
    {"text": "T"},
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "[]", "{}", "[{}]", "x", "user"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "function", "name"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def mutate(value: Any, data: st.DataObject) -> Any:
    """The value with one place replaced by junk, or removed."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(value)))
        if not data.draw(st.integers(0, 3)):
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutate(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        index = data.draw(st.integers(0, len(value) - 1))
        return [*value[:index], mutate(value[index], data), *value[index + 1 :]]
    return data.draw(JUNK)


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    good=st.sampled_from(GOOD),
    format=st.sampled_from(["auto", "auto", "messages", "alpaca", "text"]),
)
def test_mutated_rows_are_read_or_refused_and_nothing_else(
    data: st.DataObject, good: dict[str, Any], format: str
) -> None:
    value = mutate(good, data)
    if not isinstance(value, (dict, list, str)):
        return
    try:
        (row,) = rows(value, format=format)
    except DataError as error:
        assert "a.jsonl" in str(error)  # noqa: PT017 - either outcome is right
        return
    if isinstance(row, Document):
        assert isinstance(row.text, str)
        return
    assert row.messages
    assert all(isinstance(message.content, str) for message in row.messages)
    assert {message.role for message in row.messages} <= {"system", "user", "assistant", "tool"}


LOADS = {
    "fastchat/dummy_conversation.json": 500, "gpteacher/toolformer-similarity-0.6-dataset.json": 2396,
    "llamafactory/alpaca_en_demo.json": 999, "llamafactory/glaive_toolcall_en_demo.json": 300,
    "llamafactory/identity.json": 91, "ms_swift/alpaca.csv": 3, "ms_swift/alpaca.jsonl": 3, "ms_swift/alpaca2.csv": 3,
    "ms_swift/chatml.jsonl": 3, "ms_swift/conversations.jsonl": 3, "ms_swift/sharegpt.jsonl": 3,
    "ms_swift/swift_multi.json": 3, "ms_swift/swift_multi.jsonl": 3, "ms_swift/swift_single.csv": 3,
    "ms_swift/swift_single.jsonl": 3, "oasst/en_100_message.jsonl": 100,
    "openai/toy_chat_fine_tuning.jsonl": 5, "torchtune/alpaca_tiny.json": 100, "torchtune/chat_tiny.json": 1,
}  # fmt: skip
REFUSED = {
    "llamafactory/dpo_en_demo.json": "preference pairs", "llamafactory/kto_en_demo.json": "KTO",
    "llamafactory/mllm_demo.json": "trains on text alone", "llamafactory/dataset_info.json": "no list among them",
    "ms_swift/multi_modal_1.jsonl": "names a file in `<img>`", "ms_swift/multi_modal_2.jsonl": "`images` is a list of 1",
    "ms_swift/multi_modal_3.jsonl": "`images` is a list of 1",
    "ms_swift/swift_pre.csv": "text: response", "ms_swift/swift_pre.jsonl": "text: response",
}  # fmt: skip
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="third-party files lie beside the repository, not here"
)


@needs_shared
@pytest.mark.shared
def test_every_shared_file_is_accounted_for() -> None:
    found = {
        path.relative_to(SHARED).as_posix()
        for path in SHARED.rglob("*.*")
        if path.suffix not in {".jpg", ".md"}
    }
    assert found == set(LOADS) | set(REFUSED)


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("name", LOADS)
def test_real_files_load(name: str) -> None:
    loaded = read_rows(find_files([str(SHARED / name)]))
    assert len(loaded) == LOADS[name]
    assert all(isinstance(row, Conversation) for row in loaded)


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("name", REFUSED)
def test_real_files_of_other_kinds_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]):
        read_rows(find_files([str(SHARED / name)]))


ELSEWHERE = ("skills", "corpora", "eval", "selfinstruct")
DATA = SHARED.parent
OTHERS = sorted(
    path.relative_to(DATA).as_posix()
    for folder in ELSEWHERE
    for path in (DATA / folder).rglob("*.*")
    if path.suffix in {".jsonl", ".json", ".csv", ".txt", ".xml", ".md", ".rst"}
)


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_real_file_loads_or_is_refused_with_what_to_do(name: str) -> None:
    problems = Problems()
    (file,) = find_files([str(DATA / name)])
    try:
        read = list(RowReader(file, problems))
        problems.raise_any()
    except DataError as error:
        assert all(problem.advice for problem in error.problems)  # noqa: PT017 - either outcome is right
        return
    assert read


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "columns", "count"),
    [
        ("skills/gsm8k/train_2k.jsonl", {"prompt": "question", "completion": "answer"}, 2000),
        ("skills/wikisql/train.jsonl", {"prompt": "question", "completion": "sql"}, None),
        ("corpora/pydocs_parallel/ja.jsonl", {"prompt": "en", "completion": "ja"}, None),
        ("formats/ms_swift/swift_pre.csv", {"text": "response"}, 3),
    ],
)
def test_real_files_load_once_their_columns_are_mapped(
    name: str, columns: dict[str, str], count: int | None
) -> None:
    loaded = read_rows(find_files([Source(source=str(DATA / name), columns=columns)]))
    assert len(loaded) == count if count else loaded
