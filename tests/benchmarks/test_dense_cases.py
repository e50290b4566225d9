"""The closed formulas against the simulation for blocks without a gate, LayerNorm and parallel blocks; small relatives of drawn cases."""

from typing import Any

import pytest
from transformers import AutoConfig

from benchmarks.dense_cases import DENSE, draw_dense
from benchmarks.random_cases import compare
from benchmarks.simulation import simulate
from xtune.memory import ModelShape, Workload, predict

SIZES: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

NF4: dict[str, Any] = {"method": "qlora", "quantization": "nf4", "rank": 8}
INT8: dict[str, Any] = {"method": "qlora", "quantization": "int8", "rank": 8}
LORA: dict[str, Any] = {"method": "lora", "rank": 8}
FULL: dict[str, Any] = {"method": "full"}
WIDE: dict[str, Any] = {"weight_dtype": "float32"}
HALF: dict[str, Any] = {"weight_dtype": "float16", "compute_dtype": "float16"}
KEPT: dict[str, Any] = {"gradient_checkpointing": False}
FRUGAL: dict[str, Any] = {"frugal": True, "tile_tokens": 512}


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(
    "work",
    [
        NF4,
        {**NF4, **KEPT, **HALF},
        {**NF4, **FRUGAL, "dropout": True},
        {**NF4, "dora": True, **FRUGAL},
        {**INT8, "dora": True},
        pytest.param({**INT8, **KEPT}, marks=pytest.mark.slow),
        {**LORA, **KEPT},
        pytest.param({**LORA, **HALF, "checkpoint_place": "host"}, marks=pytest.mark.slow),
        pytest.param({**FULL, **KEPT}, marks=pytest.mark.slow),
        {**FULL, **WIDE},
        {**FULL, **WIDE, **FRUGAL},
        pytest.param({**FULL, **WIDE, "compute_dtype": "float32", "fused_step": True}, marks=pytest.mark.slow),
    ],
    ids=[
        "nf4", "nf4 kept in float16", "nf4 in tiles, dropout", "DoRA in tiles", "DoRA beside int8", "int8 kept", "LoRA kept",
        "LoRA in float16, inputs on the host", "full kept", "full in 16 and 32 bits", "full in tiles", "full in float32",
    ],
)  # fmt: skip
def test_computed_and_simulated_bytes_are_within_three_percent(
    kind: str, work: dict[str, Any]
) -> None:
    config = AutoConfig.for_model(kind, **SIZES)
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, optimizer="adamw_8bit", **work)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


def test_the_gradient_that_a_layer_was_given_stays_while_it_is_computed_again_by_us() -> None:
    """Seen where the feed-forward block is narrow, so that attention takes more."""
    narrow = {**SIZES, "hidden_size": 1024, "intermediate_size": 1088, "num_attention_heads": 16}
    config = AutoConfig.for_model("starcoder2", **narrow, sliding_window=None)
    work = Workload(tokens=6000, loss_chunk_tokens=256, checkpoint_place="host", **FULL)
    computed = predict(ModelShape.from_config(config.to_dict()), work)
    assert computed.tensor_bytes == pytest.approx(simulate(config, work).peak, rel=0.01)


HIDDEN: dict[str, dict[str, float]] = {
    "phi": {"resid_pdrop": 0.1, "embd_pdrop": 0.1},
    "starcoder2": {"residual_dropout": 0.1, "embedding_dropout": 0.1},
    "phi3": {"resid_pdrop": 0.1},
}


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        ("phi", NF4),
        ("phi", {**NF4, **FRUGAL}),
        ("phi", {**FULL, **KEPT}),
        ("starcoder2", NF4),
        ("starcoder2", {**LORA, **KEPT}),
        ("starcoder2", {**FULL, "checkpoint_place": "host"}),
        ("starcoder2", {**NF4, **FRUGAL}),
        ("phi3", {**NF4, **KEPT}),
    ],
)
def test_a_models_own_dropouts_are_counted_within_three_percent(
    kind: str, work: dict[str, Any]
) -> None:
    """A byte for each hidden number that may be dropped, of the embedding's where they have a gradient, and what is left of them."""
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, optimizer="adamw_8bit", **work)
    config = AutoConfig.for_model(kind, **SIZES, **HIDDEN[kind])
    computed = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    assert computed == pytest.approx(simulate(config, wanted).peak, rel=0.03)
    plain = ModelShape.from_config(AutoConfig.for_model(kind, **SIZES).to_dict())
    assert predict(plain, wanted).tensor_bytes < computed


@pytest.mark.parametrize(
    "work",
    [{**NF4, **FRUGAL}, {**FULL, **WIDE, "compute_dtype": "float32", "attention": "eager"}],
    ids=["fused, in tiles", "eager"],
)
def test_dropout_of_attention_weights_is_within_three_percent(work: dict[str, Any]) -> None:
    """Fused kernels keep a seed; eager attention a byte and a number for every pair of tokens."""
    config = AutoConfig.for_model("llama", **SIZES, attention_dropout=0.1)
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, optimizer="adamw_8bit", **work)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted).tensor_bytes
    assert computed == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize("seed", [16, 20])
def test_drawn_cases_are_within_three_percent(seed: int) -> None:
    """`python -m benchmarks.random_cases --dense` prints more."""
    case = draw_dense(seed)
    found = compare(case)
    assert found.computed == pytest.approx(found.simulated, rel=0.03), case.label


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("phi", ("q_proj", "fc2")),
        ("phi", ("dense",)),
        ("starcoder2", ("c_fc", "c_proj")),
        ("starcoder2", ("o_proj",)),
    ],
)
def test_adapters_on_some_linear_layers_are_within_three_percent(
    kind: str, targets: tuple[str, ...]
) -> None:
    """By the names that the family has; the first layer does not keep what only others want a gradient of."""
    config = AutoConfig.for_model(kind, **SIZES)
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, targets=targets, **NF4, **KEPT)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "work"), [("glm", NF4), ("glm4", {**NF4, **FRUGAL}), ("glm4", {**LORA, **KEPT})]
)
def test_glm_is_within_three_percent(kind: str, work: dict[str, Any]) -> None:
    """Gate and up are one layer, queries are turned in part, and GLM 4 has norms behind both blocks."""
    config = AutoConfig.for_model(kind, **SIZES, head_dim=64)
    wanted = Workload(tokens=1200, loss_chunk_tokens=256, **work)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)
