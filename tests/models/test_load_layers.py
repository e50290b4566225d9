"""Weights read a layer at a time, against what transformers reads by itself."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, save_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from xtune.errors import ModelError
from xtune.models.load import Loading, load_base
from xtune.recipe.models import Model, QLoRA

MOE = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {},
    "gemma2": {},
    "gemma3_text": {},
    "phi": {},
    "phi3": {},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "gpt_neox": {},
    "cohere2": {},
    "olmo2": {},
    "granite": {},
    "qwen3_moe": MOE,
    "mixtral": MOE,
    "olmoe": MOE,
}


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name, with all that a quantised weight carries."""
    found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    for name, parameter in list(found.items()):
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            found.update({f"{name}.{k}": v for k, v in state.as_dict(packed=True).items()})
        if getattr(parameter, "SCB", None) is not None:
            found[f"{name}.SCB"] = parameter.SCB
    return found


def loading(folder: Path, quantization: str | None, **options: Any) -> Loading:
    method = QLoRA.model_validate({"type": "qlora", "quantization": quantization or "nf4"})
    return Loading(
        model=Model(name=str(folder)),
        device="cpu",
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        attention="eager",
        quantization=method if quantization else None,
        **options,
    )


def plain(folder: Path, quantization: str | None) -> nn.Module:
    options: dict[str, Any] = {}
    if quantization:
        options["quantization_config"] = (
            BitsAndBytesConfig(load_in_8bit=True)
            if quantization == "int8"
            else BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=quantization,
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
        )
    model: nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="eager", device_map={"": "cpu"}, **options
    )
    return model


def assert_same(one: nn.Module, other: nn.Module) -> None:
    found, expected = tensors(one), tensors(other)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_nf4_models_are_those_that_transformers_loads(kind: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", kind, dtype="bfloat16", pad_token_id=0, **KINDS[kind])
    found: Any = load_base(loading(folder, "nf4"))
    expected: Any = plain(folder, "nf4")
    assert_same(found, expected)
    assert found.config.to_dict() == expected.config.to_dict()
    assert found.generation_config.to_dict() == expected.generation_config.to_dict()


@pytest.mark.parametrize("kind", ["phi", "mixtral"])
@pytest.mark.parametrize("quantization", ["fp4", "int8", None])
def test_other_formats_and_shards_are_the_same(
    kind: str, quantization: str | None, tmp_path: Path
) -> None:
    model = make_model(kind, **KINDS[kind]).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    seen: list[int] = []
    found = load_base(loading(tmp_path, quantization), lambda index, _: seen.append(index))
    assert_same(found, plain(tmp_path, quantization))
    assert seen == [0, 1]


@pytest.mark.parametrize("quantization", ["nf4", None])
def test_weights_that_are_taken_away_stay_away(quantization: str | None, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", num_hidden_layers=3, tie_word_embeddings=True)
    expected = tensors(plain(folder, quantization))
    taken: dict[str, torch.Tensor] = {}

    def take(index: int, layer: nn.Module) -> None:
        layers.append(layer)
        found = tensors(layer).items()
        taken.update({f"model.layers.{index}.{name}": tensor.clone() for name, tensor in found})
        for parameter in layer.parameters():
            parameter.data = torch.zeros(0)

    layers: list[nn.Module] = []
    model: Any = load_base(loading(folder, quantization), take)
    assert layers == list(model.model.layers)
    assert taken.keys() == {name for name in expected if ".layers." in name}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in taken.items())
    assert all(p.numel() == 0 for each in layers for p in each.parameters())  # nothing was refilled
    for name, tensor in tensors(model).items():
        if ".layers." not in name:
            assert torch.equal(tensor, expected[name]), name


def test_a_layer_is_read_after_the_one_before_was_handed_on(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", num_hidden_layers=3, tie_word_embeddings=True)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        number = name.split(".")[2] if ".layers." in name else "rest"
        parts.setdefault(f"{number}.safetensors", {})[name] = tensor
    for file, part in parts.items():
        save_file(part, folder / file, metadata={"format": "pt"})
    places = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": places})
    )

    def rewrite_next(index: int, layer: nn.Module) -> None:
        del layer
        for file in (f"{index}.safetensors", f"{index + 1}.safetensors"):
            if file in parts:
                ones = {name: torch.ones_like(tensor) for name, tensor in parts[file].items()}
                save_file(ones, folder / file, metadata={"format": "pt"})

    model: Any = load_base(loading(folder, "nf4"), rewrite_next)
    norms = [layer.input_layernorm.weight for layer in model.model.layers]
    name = "model.layers.0.input_layernorm.weight"
    assert torch.equal(norms[0], state[name].to(torch.bfloat16))
    assert all((each == 1).all() for each in norms[1:])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("drop", "input_layernorm.weight"),
        ("drop", "mlp.up_proj.weight"),
        ("reshape", "mlp.up_proj.weight"),  # quantised
        ("turn", "mlp.up_proj.weight"),
        ("damage", ""),
    ],
)
def test_files_that_do_not_fit_are_refused_and_their_layer_is_not_handed_on(
    change: str, name: str, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "base")
    weights = folder / "model.safetensors"
    state = load_file(weights)
    for each in state:  # all differ from what transformers would fill in
        state[each] = state[each] + 0.25
    full = f"model.layers.1.{name}"
    if change == "drop":
        del state[full]
    elif change == "reshape":
        state[full] = state[full][:10].clone()
    elif change == "turn":
        state[full] = state[full].T.contiguous()
    save_file(state, weights, metadata={"format": "pt"})
    words = re.escape(full)
    if change == "damage":
        weights.write_bytes(weights.read_bytes()[:-5000])
        words = "is damaged"
    seen: list[int] = []
    with pytest.raises(ModelError, match=words):
        load_base(loading(folder, "nf4"), lambda index, _: seen.append(index))
    assert seen == ([] if change == "damage" else [0])


def test_models_that_are_stored_quantised_come_as_they_are(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", tie_word_embeddings=True)
    expected: Any = plain(folder, "nf4")
    expected.save_pretrained(tmp_path / "stored")
    found = load_base(loading(tmp_path / "stored", "nf4"))
    assert_same(found, plain(tmp_path / "stored", None))
    assert_same(found, expected)


def test_transformers_reads_as_before_afterwards_and_where_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(tmp_path / "base")
    before = vars(PreTrainedModel)["_load_pretrained_model"]
    load_base(loading(folder, "nf4"))
    assert vars(PreTrainedModel)["_load_pretrained_model"] is before

    def other(model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any) -> Any:
        return before.__func__(model, state_dict, checkpoint_files, load_config)

    monkeypatch.setattr(PreTrainedModel, "_load_pretrained_model", staticmethod(other))
    seen: list[int] = []
    found = load_base(loading(folder, "nf4"), lambda index, _: seen.append(index))
    assert seen == [0, 1]
    assert "reads weights in a way unknown here" in caplog.text
    assert_same(found, plain(folder, "nf4"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_the_host_never_holds_much_more_than_the_quantised_model(
    quantization: str, tmp_path: Path
) -> None:
    sizes = {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "head_dim": 128,
    }
    make_model("llama", **sizes, num_key_value_heads=4).to(torch.bfloat16).save_pretrained(
        tmp_path, max_shard_size="60MB"
    )
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path), quantization],
        capture_output=True,
        text=True,
        check=True,
    )
    grown, size = (int(number) for number in done.stdout.split()[-2:])
    unquantised = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    # beside the quantised model only a layer as it is read, and what bitsandbytes needs to quantise it on a CPU
    assert grown < size + unquantised / 2


PEAK = """
import sys
from xtune.models.load import Loading, load_base
from xtune.recipe.models import Model, QLoRA

def resident(name):
    line = next(each for each in open("/proc/self/status") if each.startswith(name))
    return int(line.split()[1]) * 1024

folder, quantization = sys.argv[1:]
loading = Loading(
    model=Model(name=folder), device="cpu", weight_dtype="bfloat16", compute_dtype="bfloat16",
    attention="sdpa", quantization=QLoRA(type="qlora", quantization=quantization),
)
load_base(loading)  # imports what is imported late
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
model = load_base(loading)
print(resident("VmHWM") - before, sum(each.nbytes for each in model.state_dict().values()))
"""
