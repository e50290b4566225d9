"""InternLM, whose code comes with its weights: counts against what is published, and a model with its modules that is written here."""

from typing import Any

import pytest
import torch
from internlm2 import Config, InternLM2
from machines import make_recipe

from benchmarks.simulation import simulate
from xtune.adapter.targets import check_modules_to_save, choose_targets
from xtune.errors import ModelError
from xtune.memory import ModelShape, Workload, predict
from xtune.memory.saved import saved_modules
from xtune.plan.names import name_problems
from xtune.recipe import LowRank

# peft 0.21 reads a property that transformers 5.23 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")

SIZES: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}


def make_shape(**fields: Any) -> ModelShape:
    return ModelShape.from_config({"model_type": "internlm2", **SIZES, **fields})


def make_stand_in(**fields: Any) -> InternLM2:
    with torch.device("meta"):
        return InternLM2(Config(**{**SIZES, **fields}))


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ((4096, 14_336, 32, 32, 8), 7_737_708_544),
        ((2048, 8192, 24, 16, 8), 1_889_110_016),
        ((6144, 16_384, 48, 48, 8), 19_861_149_696),
    ],
    ids=["7B", "1.8B", "20B"],
)
def test_parameters_are_as_published(sizes: tuple[int, ...], parameters: int) -> None:
    fields = dict(zip(list(SIZES)[:5], sizes, strict=True))
    shape = make_shape(**fields, vocab_size=92_544, bias=False)
    assert shape.parameters == parameters


def test_the_first_internlm_has_biases_in_attention_alone() -> None:
    """InternLM-7B by hand: embedding and head; of each layer four projections with biases, gate, up and down, two norms; a last norm."""
    config = {"model_type": "internlm", "hidden_size": 4096, "intermediate_size": 11_008}
    config |= {"num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 103_168}
    layer = 4 * (4096 * 4096 + 4096) + 3 * 4096 * 11_008 + 2 * 4096
    expected = 2 * 103_168 * 4096 + 32 * layer + 4096
    assert ModelShape.from_config(config).parameters == expected
    assert ModelShape.from_config({**config, "bias": False}).parameters == expected - 32 * 4 * 4096


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_its_modules(bias: bool) -> None:
    expected = sum(each.numel() for each in make_stand_in(bias=bias).parameters())
    assert make_shape(bias=bias).parameters == expected
    assert make_shape(**({} if bias else {"bias": False})).parameters == expected


@pytest.mark.parametrize(
    "targets",
    [("all-linear",), ("wqkv",), ("wqkv", "wo"), ("w1", "feed_forward.w2"), ("w3", "output")],
)
@pytest.mark.parametrize("dora", [False, True])
def test_adapters_are_counted_like_peft(targets: tuple[str, ...], dora: bool) -> None:
    from peft import LoraConfig, get_peft_model

    every = targets[0] if targets == ("all-linear",) else list(targets)
    adapted = get_peft_model(make_stand_in(), LoraConfig(r=5, target_modules=every, use_dora=dora))
    expected = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
    assert make_shape().lora_parameters(5, targets, dora=dora) == expected > 0


@pytest.mark.parametrize("name", ["tok_embeddings", "output", "norm", "attention_norm", "wo"])
def test_what_is_trained_in_full_is_counted(name: str) -> None:
    parts = make_stand_in().named_parameters()
    expected = sum(each.numel() for full, each in parts if full.rpartition(".")[0].endswith(name))
    assert saved_modules(make_shape(), (name,)).entries == expected > 0


@pytest.mark.parametrize("name", ["q_proj", "lm_head", "self_attn.wo", "embed_tokens"])
def test_llamas_names_are_refused_in_the_words_of_the_loaded_model(name: str) -> None:
    recipe = make_recipe({"type": "lora", "targets": [name], "modules_to_save": [name]})
    model, method = make_stand_in(), recipe.method
    assert isinstance(method, LowRank)
    said = []
    for check in (choose_targets, check_modules_to_save):
        with pytest.raises(ModelError) as refused:
            check(model, method)
        said.append(str(refused.value))
    assert [str(each) for each in name_problems(recipe, make_shape())] == said


@pytest.mark.parametrize("vocab", [300, 8000])
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(
    "work",
    [
        {"method": "qlora", "quantization": "nf4"},
        {"method": "lora"},
        {"method": "lora", "targets": ("wqkv", "w2")},
    ],
    ids=["nf4", "LoRA", "some layers"],
)
def test_computed_and_simulated_bytes_are_within_three_percent(
    work: dict[str, Any], checkpointing: bool, vocab: int
) -> None:
    sizes = {**SIZES, "vocab_size": vocab}
    wanted = Workload(
        tokens=1200, rank=8, optimizer="adamw_8bit", gradient_checkpointing=checkpointing, **work
    )
    computed = predict(make_shape(**sizes, bias=False), wanted).tensor_bytes
    simulated = simulate(Config(**sizes, bias=False), wanted).peak
    assert computed == pytest.approx(simulated, rel=0.03)
