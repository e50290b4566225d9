"""Chat on a real run folder: what the model is given, what is kept, and the commands."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from adapted import with_adapter

from xtune.adapter.open import Opened, open_run
from xtune.errors import RunError, XtuneError
from xtune.evaluate.chat import Chat, base_chat, converse
from xtune.evaluate.generate import Decoding, generate

# peft 0.21 reads a property that transformers 5.23 deprecates
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

SHORT = Decoding(max_new_tokens=6)


@pytest.fixture
def open_stage(
    model: Any, tokenizer: Any, make_run: Callable[..., Path]
) -> Callable[[str], Opened]:
    def opened(stage: str) -> Opened:
        run = make_run("full", stage)
        model.save_pretrained(run / "model")
        tokenizer.save_pretrained(run / "model")
        return open_run(run, device="cpu")

    return opened


@pytest.fixture
def chat(open_stage: Callable[[str], Opened]) -> Chat:
    return Chat(open_stage("sft"), decoding=SHORT)


@pytest.fixture
def answer(model: Any, tokenizer: Any) -> Callable[[str], str]:
    """The greedy answer to a prompt written out as text."""

    def to(text: str) -> str:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return generate(model, tokenizer, [ids], SHORT)[0].text

    return to


def test_a_reply_follows_the_template_with_all_turns_before_it(
    chat: Chat, answer: Callable[[str], str]
) -> None:
    first = "".join(chat.reply("one two"))
    written = "<|im_start|>user\none two<|im_end|>\n<|im_start|>assistant\n"
    assert first == answer(written)
    second = "".join(chat.reply("three"))
    written += f"{first}<|im_end|>\n<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n"
    assert second == answer(written)
    assert [message.role for message in chat.history] == ["user", "assistant"] * 2


def test_the_system_prompt_stands_before_everything(
    open_stage: Callable[[str], Opened], answer: Callable[[str], str]
) -> None:
    chat = Chat(open_stage("sft"), decoding=SHORT, system="Be brief.")
    expected = answer(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "".join(chat.reply("one")) == expected


def test_a_model_of_plain_texts_continues_and_keeps_no_history(
    open_stage: Callable[[str], Opened], answer: Callable[[str], str]
) -> None:
    chat = Chat(open_stage("pretrain"), decoding=SHORT)
    assert "".join(chat.reply("one two")) == answer("one two")
    assert chat.history == []


def test_an_answer_that_is_broken_off_is_kept_as_far_as_it_came(chat: Chat) -> None:
    pieces = chat.reply("one two")
    first = next(pieces)
    pieces.close()
    assert [message.content for message in chat.history] == ["one two", first]


def test_a_conversation_beyond_the_context_says_how_to_start_again(chat: Chat) -> None:
    with pytest.raises(XtuneError, match=r"the model reads 512.*/reset"):
        list(chat.reply("one " * 600))
    assert chat.history == []


def script(*lines: str) -> Callable[[str], str]:
    """Reads the lines one after another; then the input ends."""
    rest = iter(lines)

    def read(_: str) -> str:
        line = next(rest, None)
        if line is None:
            raise EOFError
        return line

    return read


def test_commands_reset_set_the_system_prompt_and_exit(chat: Chat) -> None:
    shown: list[str] = []
    converse(
        chat,
        read=script("one", "/system Be kind.", "", "/nonsense", "two", "/exit", "three"),
        write=shown.append,
    )
    text = "".join(shown)
    assert "System prompt set" in text
    assert text.count("Commands:") == 2
    assert chat.system == "Be kind."
    assert [message.content for message in chat.history if message.role == "user"] == ["two"]


def test_reset_forgets_and_the_end_of_the_input_ends(chat: Chat) -> None:
    shown: list[str] = []
    converse(chat, read=script("one", "/reset"), write=shown.append)
    assert chat.history == []
    assert "forgotten" in "".join(shown)


def test_control_c_stops_the_answer_and_not_the_conversation(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Iterator[str]:
        yield "half"
        raise KeyboardInterrupt

    monkeypatch.setattr(Chat, "reply", interrupted)
    shown: list[str] = []
    converse(chat, read=script("one"), write=shown.append)
    assert "half [stopped]" in "".join(shown)


def test_an_answer_that_cannot_be_given_is_a_message_and_not_the_end(chat: Chat) -> None:
    shown: list[str] = []
    converse(chat, read=script("one " * 600, "/reset"), write=shown.append)
    assert "the model reads 512" in "".join(shown)
    assert "forgotten" in "".join(shown)


def test_the_base_answers_beside_an_adapter_and_goes_on_from_its_own_answers(
    model: Any, tokenizer: Any, make_run: Callable[..., Path], answer: Callable[[str], str]
) -> None:
    run = make_run("lora")
    with_adapter(model).save_pretrained(run / "adapter")
    tokenizer.save_pretrained(run / "adapter")
    opened = open_run(run, device="cpu")
    tuned = Chat(opened, decoding=SHORT)
    base = base_chat(run, opened, tuned)
    shown: list[str] = []
    lines = iter(["one two", "three", "/reset", "/exit"])
    converse(tuned, base=base, read=lambda _: next(lines), write=shown.append)
    turn = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    first = answer(turn.format("one two"))
    second = answer(f"{turn.format('one two')}{first}<|im_end|>\n{turn.format('three')}")
    text = "".join(shown)
    assert f"base model: {first}\ntuned: " in text
    assert f"base model: {second}\ntuned: " in text
    assert (tuned.history, base.history) == ([], [])
    alone = Chat(open_run(run, device="cpu"), decoding=SHORT)
    assert f"\ntuned: {''.join(alone.reply('one two'))}\n" in text


def test_a_bare_model_has_no_base_to_talk_to(base_folder: Path) -> None:
    opened = open_run(base_folder, device="cpu")
    alone = Chat(opened, decoding=SHORT)
    with pytest.raises(RunError, match="does not say what it was before"):
        base_chat(base_folder, opened, alone)


def test_settings_are_changed_shown_and_refused_by_name(chat: Chat) -> None:
    lines = iter(
        [
            "/set temperature=0.7",
            "/set max-new-tokens = 3",
            "/set top_q=1",
            "/set top_p=1.5",
            "/set seed=x",
            "/set",
            "/sytem x",
            "/exit",
        ]
    )
    said: list[str] = []
    converse(chat, read=lambda _: next(lines), write=said.append)
    assert chat.decoding.temperature == 0.7
    assert chat.decoding.max_new_tokens == 3
    text = "".join(said)
    assert "the names are temperature, top_p, top_k, seed, max_new_tokens" in text
    assert "top_p is 1.5; it must be between 0 and 1." in text
    assert "seed is x; it must be a whole number." in text
    assert "temperature=0.7 top_p=1.0 top_k=0 seed=0 max_new_tokens=3" in text
    assert "There is no command /sytem." in text


def test_a_seed_gives_a_conversation_again_and_each_answer_its_own_draw(chat: Chat) -> None:
    chat.decoding = Decoding(temperature=5.0, seed=3, max_new_tokens=12)

    def talk() -> list[str]:
        chat.reset()
        first = "".join(chat.reply("one"))
        chat.history.clear()  # the same question, and nothing before it
        return [first, "".join(chat.reply("one"))]

    before = talk()
    assert before == talk()
    assert before[0] != before[1]
