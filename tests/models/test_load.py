"""Models in memory: the types a plan asks for, and refusals in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, make_tokenizer, save_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from xtune.errors import ModelError
from xtune.models.load import load_model


def load(folder: Path, recipe: dict[str, Any] | None = None, **choices: Any) -> Any:
    return load_model(make_plan({"model": {"name": str(folder)}, **(recipe or {})}, **choices))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_in_the_plans_type_and_eval_mode(tmp_path: Path, dtype: str) -> None:
    model = load(save_model(tmp_path / "base"), weight_dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert not model.training
    expected = make_model().lm_head.weight.to(getattr(torch, dtype))
    assert torch.equal(model.lm_head.weight, expected)


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
def test_only_linear_layers_are_quantised_and_the_head_is_not(
    tmp_path: Path, quantization: str
) -> None:
    folder = save_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=True)
    method = {"type": "qlora", "quantization": quantization}
    model = load(folder, {"method": method}, weight_dtype="bfloat16", compute_dtype="bfloat16")
    stored = torch.int8 if quantization == "int8" else torch.uint8
    types = {name: p.dtype for name, p in model.named_parameters()}
    assert types["model.layers.0.self_attn.q_proj.weight"] == stored
    # PEFT's k-bit preparation would make these float32: gigabytes on a large model
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert types[name] == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_layer_norms_give_the_type_they_are_given_and_torchs_numbers(tmp_path: Path) -> None:
    """CUDA's autocast would make them float32, whatever they are given; its kernels add up in float32 anyway."""
    folder = save_model(tmp_path / "base", "gpt_neox", dtype="bfloat16")
    model = load(folder, weight_dtype="bfloat16")
    norm = model.gpt_neox.final_layer_norm
    hidden = torch.randn(5, norm.normalized_shape[0], dtype=torch.bfloat16, requires_grad=True)
    exact = torch.nn.functional.layer_norm(
        hidden.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(hidden)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16())


def test_int8_products_do_not_speak_of_every_cast(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from bitsandbytes import MatmulLtState
    from bitsandbytes.autograd._functions import MatMul8bitLt

    folder = save_model(tmp_path / "base", dtype="bfloat16")
    load(folder, {"method": {"type": "qlora", "quantization": "int8"}}, compute_dtype="bfloat16")
    # what a layer does on CUDA; on a CPU it goes another way, which says nothing
    MatMul8bitLt.apply(torch.ones(2, 8).bfloat16(), torch.ones(4, 8), None, None, MatmulLtState())
    assert not caplog.records


@pytest.mark.parametrize("double", [True, False])
def test_nf4_keeps_what_the_recipe_says(tmp_path: Path, double: bool) -> None:
    method = {"type": "qlora", "double_quantization": double}
    model = load(save_model(tmp_path / "base"), {"method": method}, compute_dtype="bfloat16")
    layer = model.model.layers[0].self_attn.q_proj
    assert (layer.weight.quant_type, layer.compute_dtype) == ("nf4", torch.bfloat16)
    assert layer.weight.compress_statistics is double
    assert not any(
        getattr(module, "support_avx512bf16_for_cpu", False) for module in model.modules()
    )


def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path) -> None:
    from factories import causal_loss, random_batch

    folder = save_model(tmp_path / "base")
    gradients = []
    for checkpointing in (False, True):
        model = load(folder, gradient_checkpointing=checkpointing).train()
        # transformers 5.18 renamed it
        names = ("is_activation_checkpointing", "is_gradient_checkpointing")
        name = next(name for name in names if hasattr(type(model), name))
        assert getattr(model, name) is checkpointing
        causal_loss(model, random_batch(), chunk_tokens=8).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_config_without_weights_starts_from_seeded_random_ones_in_pretraining_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "base")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load(folder)
    recipe: dict[str, Any] = {"stage": "pretrain", "method": "full", "run": {"seed": 7}}
    before = torch.random.get_rng_state()
    first, second = load(folder, recipe), load(folder, recipe)
    other = load(folder, {**recipe, "run": {"seed": 8}})
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert "starting from random ones (seed 7)" in caplog.text


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"pickled weights only \(pytorch_model\.bin\)"):
        load(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelError, match="lacks 1 of its 2 weight files, model-00002-of-00002"):
        load(folder)


def test_a_truncated_weight_file_is_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="is damaged"):
        load(folder)


@pytest.mark.parametrize("change", ["drop", "reshape"])
def test_tensors_that_would_be_random_are_refused(tmp_path: Path, change: str) -> None:
    folder = save_model(tmp_path / "base")
    state = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    if change == "drop":
        del state[name]
    else:
        state[name] = state[name][:10].clone()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load(folder)


def test_tensors_that_nothing_uses_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "base")
    state = load_file(folder / "model.safetensors")
    save_file(
        {**state, "vision.weight": torch.ones(2)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    load(folder)
    assert "1 tensors that its architecture does not use, vision.weight" in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": None}, "no `model_type`"),
        ({"model_type": "qwen99"}, "transformers 5.* does not know the architecture qwen99"),
        (
            {"model_type": "qwen99", "auto_map": {"AutoModelForCausalLM": "m.M"}},
            "trust_remote_code` is off",
        ),
        ({"model_type": "clip"}, "does not write text from left to right"),
        ({"model_type": "bert", "is_decoder": False}, "is an encoder"),
        ({"model_type": "xlm-roberta"}, "is an encoder"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "is an encoder"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"stored quantised \(gptq\)"),
        ({"hidden_size": "many"}, "could not load"),
    ],
)
def test_a_config_that_cannot_be_trained_is_explained(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = save_model(tmp_path / "base")
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=words):
        load(folder)


def test_a_base_stored_in_4_bits_computes_in_the_plans_type(tmp_path: Path) -> None:
    """A config that transformers wrote says float32 where nobody said otherwise: products would take twice the memory."""
    from bitsandbytes.nn import Linear4bit

    folder, stored = save_model(tmp_path / "base"), tmp_path / "stored"
    quantization: Any = BitsAndBytesConfig
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=quantization(load_in_4bit=True)
    )
    model.save_pretrained(stored)
    assert (
        json.loads((stored / "config.json").read_text())["quantization_config"][
            "bnb_4bit_compute_dtype"
        ]
        == "float32"
    )
    found = load(
        stored, {"method": {"type": "qlora"}}, weight_dtype="bfloat16", compute_dtype="bfloat16"
    )
    layers = [each for each in found.modules() if isinstance(each, Linear4bit)]
    assert len(layers) == 7 * found.config.num_hidden_layers
    assert {each.compute_dtype for each in layers} == {torch.bfloat16}


def test_loading_says_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save_model(tmp_path / "base", tokenizer=make_tokenizer())
    capfd.readouterr()
    load(folder, {"method": {"type": "qlora"}}, weight_dtype="bfloat16")
    assert capfd.readouterr() == ("", "")
