"""The model card: its front matter as a hub parses it, its facts, and its Python, which is run."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from xtune.recipe import Recipe
from xtune.recipe.dump import dump_recipe
from xtune.report.card import CardWriter, write_cards
from xtune.run.observer import EndInfo, StartInfo

DATA = {
    "files": [{"name": "/home/alice/private/rows.jsonl", "format": "messages", "rows": 1200, "bytes": 9, "sha256": "ab" * 32}],
    "train": {"rows_read": 1200, "rows_kept": 1180, "tokens": 70000, "trained_tokens": 21000, "dropped": {"longer than 64 tokens": {"rows": 20, "examples": ["x"]}}},
    "evaluate": None,
}  # fmt: skip


@pytest.fixture
def finish(run_folder: Path, recipe: Recipe) -> Callable[..., Path]:
    """Completes the run folder with a recipe, data and a result."""

    def complete(method: Any = "lora", model: str = "Qwen/Qwen3-0.6B", **changes: Any) -> Path:
        values = {**recipe.model_dump(), "method": method, "model": {"name": model}, **changes}
        (run_folder / "recipe.yaml").write_text(dump_recipe(Recipe.model_validate(values)))
        (run_folder / "data.json").write_text(json.dumps(DATA))
        choices = {
            "alpha": {"value": 16.0, "reason": "r"},
            "optimizer": {"value": "adamw", "reason": "r"},
        }
        (run_folder / "plan.json").write_text(json.dumps({"choices": choices}))
        (run_folder / "speed.jsonl").write_text(
            '{"step": 40, "elapsed_s": 245, "memory_bytes": 1073741824}\n'
        )
        (run_folder / "environment.json").write_text(
            '{"python": "3.11.7", "packages": {"torch": "2.13.0"}}'
        )
        (run_folder / ("model" if method == "full" else "adapter")).mkdir()
        return run_folder

    return complete


def front_matter(card: Path) -> dict[str, Any]:
    _, front, _ = card.read_text().split("---\n", 2)
    parsed = yaml.safe_load(front)
    assert isinstance(parsed, dict)
    return parsed


def test_both_cards_have_the_front_matter_that_hubs_read(finish: Callable[..., Path]) -> None:
    run = finish()
    assert write_cards(run) == [run / "README.md", run / "adapter" / "README.md"]
    assert front_matter(run / "adapter" / "README.md") == {
        "base_model": "Qwen/Qwen3-0.6B",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["xtune", "lora", "sft"],
    }


def test_a_full_fine_tune_is_a_transformers_model(finish: Callable[..., Path]) -> None:
    run = finish("full")
    write_cards(run)
    assert front_matter(run / "model" / "README.md")["library_name"] == "transformers"


def test_the_card_tells_data_losses_settings_and_versions(finish: Callable[..., Path]) -> None:
    run = finish()
    write_cards(run)
    card = (run / "README.md").read_text()
    for fact in (
        "| `rows.jsonl` | 1,200 | messages | `abababababababab` |",
        "| training | 1,180 of 1,200 | 21,000 of 70,000 | 20 longer than 64 tokens |",
        "| held-out loss, last (step 40) | 0.6366 |",
        "| rank, alpha | 16, 16.0 |",
        "| training time | 4:05 |",
        "| peak memory | 1.0 GiB |",
        "| torch | 2.13.0 |",
        "No rows were held out",
    ):
        assert fact in card, fact


def test_no_path_of_this_machine_is_published(finish: Callable[..., Path], tmp_path: Path) -> None:
    base = tmp_path / "my-base"
    base.mkdir()
    run = finish(model=str(base))
    write_cards(run)
    card = (run / "adapter" / "README.md").read_text()
    assert "alice" not in card
    assert str(tmp_path) not in card
    assert "`my-base`" in card
    assert "base_model" not in front_matter(run / "adapter" / "README.md")


def test_the_licence_is_the_one_that_the_bases_card_names(
    finish: Callable[..., Path], tmp_path: Path
) -> None:
    base = tmp_path / "my-base"
    base.mkdir()
    (base / "README.md").write_text(
        "---\nlicense: other\nlicense_name: own-terms\ntags: [a]\n---\n# Base\n"
    )
    run = finish(model=str(base))
    write_cards(run)
    front = front_matter(run / "README.md")
    assert (front["license"], front["license_name"]) == ("other", "own-terms")


@pytest.mark.parametrize("card", ["no front matter", "---\n: [\n---\n", "---\njust text\n---\n"])
def test_a_base_without_a_readable_licence_has_none(
    finish: Callable[..., Path], tmp_path: Path, card: str
) -> None:
    base = tmp_path / "my-base"
    base.mkdir()
    (base / "README.md").write_text(card)
    run = finish(model=str(base))
    write_cards(run)
    assert "license" not in front_matter(run / "README.md")


def test_the_evaluation_is_shown_with_its_standard_errors(finish: Callable[..., Path]) -> None:
    run = finish()
    share = {"right": 1, "rows": 4, "value": 0.25, "standard_error": 0.216}
    numbers = {
        "rows": 4,
        "loss": 2.5,
        "perplexity": 12.18,
        "exact_match": share,
        "json_match": None,
    }
    before = {**numbers, "loss": 3.0, "exact_match": {**share, "value": 0.0, "standard_error": 0.0}}
    (run / "evaluation.json").write_text(json.dumps({"before": before, "after": numbers}))
    write_cards(run)
    card = (run / "README.md").read_text()
    assert "`xtune evaluate` on 4 rows" in card
    assert "| loss | 3.0000 | 2.5000 |" in card
    assert "| exact match | 0.0% ± 0.0% | 25.0% ± 21.6% |" in card
    assert "same JSON" not in card


def test_cards_are_written_for_a_finished_run_alone(
    finish: Callable[..., Path], start: StartInfo
) -> None:
    run = finish()
    for status, written in (("failed", False), ("interrupted", False), ("finished", True)):
        observer = CardWriter()
        observer.on_start(start)
        observer.on_end(EndInfo(status=status, step=40, message="."))  # type: ignore[arg-type]
        assert (run / "README.md").exists() is written


@pytest.fixture
def tiny() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    vocabulary = {
        word: number
        for number, word in enumerate(
            ["<pad>", "<end>", "<unk>", "Hello", "!", "user", "assistant"]
        )
    }
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant"
    )
    config = LlamaConfig(
        vocab_size=7, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config), tokenizer


def run_python(card: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the card's Python in the card's folder, as somebody who copies it would."""
    code = re.search(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(card.parent)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code[1], names)  # what the card tells people to run
    return names


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("where", [".", "adapter"])
def test_the_cards_python_loads_the_adapter_with_peft_alone(
    finish: Callable[..., Path],
    tiny: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = tiny
    base = tmp_path / "base"
    model.save_pretrained(base)
    run = finish(model=str(base))
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(run / "adapter")
    tokenizer.save_pretrained(run / "adapter")
    write_cards(run)
    card = run / where / "README.md"
    # a base on this machine is named without its folders; the reader puts in where it is
    card.write_text(card.read_text().replace('"base"', json.dumps(str(base))))
    loaded = run_python(card, monkeypatch)
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(
            loaded["model"](input_ids=ids).logits, adapted.eval()(input_ids=ids).logits, atol=1e-5
        )


def test_the_cards_python_loads_a_full_model_with_transformers_alone(
    finish: Callable[..., Path], tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny
    run = finish("full")
    model.save_pretrained(run / "model")
    tokenizer.save_pretrained(run / "model")
    write_cards(run)
    loaded = run_python(run / "README.md", monkeypatch)
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(
            loaded["model"](input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-5
        )


def test_an_adapter_on_the_bundled_model_says_where_that_model_is(
    finish: Callable[..., Path],
) -> None:
    run = finish(model="bundled:demo")
    write_cards(run)
    card = (run / "README.md").read_text()
    assert 'from_pretrained(bundled_path("bundled:demo")' in card
    assert "base_model" not in front_matter(run / "README.md")


@pytest.mark.parametrize(
    "method",
    [
        {"type": "qlora", "quantization": "fp4", "double_quantization": False},
        {"type": "qlora", "quantization": "int8"},
    ],
)
def test_a_qlora_card_says_how_to_quantise_the_base_as_in_training(
    finish: Callable[..., Path], method: dict[str, Any]
) -> None:
    run = finish(method)
    write_cards(run)
    call = re.search(
        r"quantization_config=(BitsAndBytesConfig\([^)]*\))", (run / "README.md").read_text()
    )
    assert call is not None
    config = eval(call[1], {"BitsAndBytesConfig": BitsAndBytesConfig})
    assert (config.load_in_4bit, config.load_in_8bit) == (
        method["quantization"] == "fp4",
        method["quantization"] == "int8",
    )
    if config.load_in_4bit:
        assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("fp4", False)
