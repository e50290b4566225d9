"""Frugal layers against transformers' own layers with eager attention: outputs, gradients, dropout, adapters."""

import pytest
import torch
from factories import make_batch, make_model, make_plan, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from xtune.adapter.attach import attach
from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.heads import decoder_layers
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import DeviceShelf
from xtune.kernels.shelved import make_shelved

KINDS = (
    "apertus", "arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "granite",
    "granitemoe", "helium", "hunyuan_v1_dense", "llama", "ministral", "ministral3", "mistral", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "phi", "phi3", "qwen2", "qwen2_moe",
    "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
)  # fmt: skip


LATENT = {
    "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "head_dim": 8,
}  # fmt: skip
BESIDE = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1, "n_group": 2,
    "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
MIXTURES = {
    "deepseek_v2": {**LATENT, **BESIDE},
    "deepseek_v3": {**LATENT, **BESIDE},
    "glm4_moe": {**BESIDE, "use_qk_norm": True},
    "dots1": BESIDE,
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2},
    "ernie4_5_moe": {
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_num_shared_experts": 1,
        "moe_intermediate_size": 32,
    },
    "granitemoeshared": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 32,
    },
}
"""Latent attention, whose values are narrower than its queries; dense layers before those with experts; shared experts."""


def positions_of(*lengths: int, rows: int = 1) -> torch.Tensor:
    return torch.cat([torch.arange(each) for each in lengths])[None].repeat(rows, 1)


def passed(
    model: torch.nn.Module, positions: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Hidden states and the gradients of every trained parameter, of one loss that has no symmetry."""
    model.zero_grad()
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 250, positions.shape, generator=generator)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.base_model(input_ids=ids, position_ids=positions, use_cache=False)
    states = hidden.last_hidden_state
    (states * torch.randn(states.shape, generator=generator)).sum().backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return states.detach(), gradients


def assert_equal(
    expected: tuple[torch.Tensor, dict[str, torch.Tensor]],
    found: tuple[torch.Tensor, dict[str, torch.Tensor]],
    tolerance: float,
) -> None:
    assert (found[0] - expected[0]).norm() <= tolerance * expected[0].norm()
    assert found[1].keys() == expected[1].keys()
    floor = 1e-6 * max(float(gradient.norm()) for gradient in expected[1].values())
    for name, gradient in expected[1].items():  # of one token alone, queries and keys get none
        assert (found[1][name] - gradient).norm() <= tolerance * gradient.norm() + floor, name


def assert_tiles_equal_eager(model: torch.nn.Module) -> None:
    """Packed rows in tiles, beside the model's own layers with eager attention."""
    model.set_attn_implementation("eager")
    positions = positions_of(25, 15, rows=2)
    expected = passed(model, positions)
    installed = make_frugal(model, FrugalSettings(tile_tokens=16))
    assert installed.frugal == 2, installed.plain
    assert_equal(expected, passed(model, positions), 5e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_through_windows_equal_the_models_own_layers(kind: str) -> None:
    assert_tiles_equal_eager(make_model(kind, sliding_window=6))


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixtures_and_latent_attention_equal_the_models_own_layers(kind: str) -> None:
    assert_tiles_equal_eager(make_model(kind, **MIXTURES[kind]))


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    rows=st.integers(1, 3),
    tile_tokens=st.integers(1, 50),
    kv_heads_at_once=st.integers(1, 3),
)
def test_any_cut_gives_the_same(
    lengths: list[int], rows: int, tile_tokens: int, kv_heads_at_once: int
) -> None:
    model = make_model("qwen3").double()
    model.set_attn_implementation("eager")
    positions = positions_of(*lengths, rows=rows)
    expected = passed(model, positions)
    make_frugal(model, FrugalSettings(tile_tokens=tile_tokens, kv_heads_at_once=kv_heads_at_once))
    # transformers' rotary tables and norms are float32 whatever the model's type
    assert_equal(expected, passed(model, positions), 1e-6)


def adapted(kind: str = "llama", dropout: float = 0.0, **config: int) -> torch.nn.Module:
    plan = make_plan({"method": {"type": "lora", "rank": 4, "dropout": dropout}})
    model = attach(make_model(kind, **config), plan, make_tokenizer())
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:  # begins as zero, and then A gets no gradient
            parameter.data.normal_(0.0, 0.1, generator=generator)
    return model


@pytest.mark.parametrize("kind", ["llama", "phi3", "gemma2"])
def test_adapters_get_the_gradients_of_plain_layers(kind: str) -> None:
    model = adapted(kind)
    model.get_base_model().set_attn_implementation("eager")
    positions = positions_of(30, 11)
    expected = passed(model, positions)
    assert expected[1]
    make_frugal(model, FrugalSettings(tile_tokens=16))
    assert_equal(expected, passed(model, positions), 5e-6)


def test_attention_sinks_take_part_in_every_window_and_group() -> None:
    """gpt-oss's own eager attention, which does not tell packed samples apart: one sample a row."""
    model = adapted("gpt_oss", sliding_window=6)
    for layer in decoder_layers(model):
        layer.self_attn.sinks.data.normal_(0.0, 2.0)
    model.get_base_model().set_attn_implementation("eager")
    positions = positions_of(41, rows=2)
    expected = passed(model, positions)
    installed = make_frugal(model, FrugalSettings(tile_tokens=16))
    assert (installed.frugal, installed.plain.total()) == (2, 0)
    assert_equal(expected, passed(model, positions), 5e-6)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "cohere", "olmo", "ernie4_5"])
def test_bfloat16_is_as_near_to_float32_as_plain_layers_are(kind: str) -> None:
    positions = positions_of(30, 11)
    exact = passed(make_model(kind), positions)

    def distance(model: PreTrainedModel) -> float:
        found = passed(model, positions)
        return max(
            float((found[1][name].float() - each).norm() / each.norm())
            for name, each in exact[1].items()
        )

    plain = distance(make_model(kind).bfloat16())
    frugal = make_model(kind).bfloat16()
    assert make_frugal(frugal, FrugalSettings(tile_tokens=16)).frugal == 2
    assert distance(frugal) <= 1.25 * plain


def test_dropout_is_drawn_again_for_the_backward_pass() -> None:
    """With one seed the step is a function: its slope along a direction equals a difference quotient."""
    model = adapted(dropout=0.3).double()
    make_frugal(model, FrugalSettings(tile_tokens=8))
    positions = positions_of(20)
    trained = [each for each in model.parameters() if each.requires_grad]
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in trained]

    def loss() -> torch.Tensor:
        torch.manual_seed(7)
        ids = torch.arange(20)[None]
        hidden = model.get_base_model().base_model(
            input_ids=ids, position_ids=positions, use_cache=False
        )
        return hidden.last_hidden_state[..., :5].sum()

    gradients = torch.autograd.grad(loss(), trained)
    slope = sum(float((one * other).sum()) for one, other in zip(gradients, direction, strict=True))
    step = 1e-4
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, along in zip(trained, direction, strict=True):
                parameter += sign * step * along
            values.append(float(loss()))
    quotient = (values[0] - values[1]) / (2 * step)
    assert quotient == pytest.approx(slope, rel=2e-3)  # norms are float32 in any model
    torch.manual_seed(7)
    first = model.get_base_model().base_model(input_ids=torch.arange(20)[None])[0]
    second = model.get_base_model().base_model(input_ids=torch.arange(20)[None])[0]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("cut", [True, False], ids=["in tiles", "as a whole"])
@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("starcoder2", {"residual_dropout": 0.3}),  # numbers, and no modules
        ("bloom", {"hidden_dropout": 0.3, "attention_dropout": 0.0}),
        ("phi", {"resid_pdrop": 0.3, "embd_pdrop": 0.2}),
        ("gpt_neox", {"hidden_dropout": 0.3, "attention_dropout": 0.2}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_models_own_dropouts_are_drawn_again(
    kind: str, shares: dict[str, float], cut: bool
) -> None:
    """With one seed the step is a function: its slope along a direction equals a difference quotient."""
    model = make_model(kind, **shares).double().train()
    if cut:
        make_frugal(model, FrugalSettings(tile_tokens=8))
    else:
        make_shelved(model, DeviceShelf())
    trained = list(model.base_model.parameters())
    generator = torch.Generator().manual_seed(2)
    along = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in trained]

    def loss(seed: int = 7) -> torch.Tensor:
        torch.manual_seed(seed)
        return model.base_model(torch.arange(1, 21)[None], use_cache=False)[0][..., :5].sum()

    gradients = torch.autograd.grad(loss(), trained, allow_unused=True)
    slope = sum(
        float((g * a).sum()) for g, a in zip(gradients, along, strict=True) if g is not None
    )
    values, step = [], 1e-5
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, direction in zip(trained, along, strict=True):
                parameter += sign * step * direction
            values.append(float(loss()))
        assert loss(8) != loss(7)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-3)


def test_a_gradient_that_is_an_expansion_is_not_written_over() -> None:
    """`sum()` hands back one number in the shape of all: writing over it would write over its neighbours."""
    model = make_model("llama")
    model.set_attn_implementation("eager")
    positions = positions_of(20)
    states = model.base_model.embed_tokens(torch.arange(20)[None])
    tables = model.base_model.rotary_emb(states, positions)
    layer = decoder_layers(model)[0]

    def gradient() -> torch.Tensor:
        leaf = states.detach().requires_grad_()
        causal = torch.full((20, 20), -torch.inf).triu(1)[None, None]
        mask = causal if layer.self_attn.config._attn_implementation == "eager" else None
        output = layer(
            leaf, attention_mask=mask, position_embeddings=tables, position_ids=positions
        )
        return torch.autograd.grad(output.sum(), leaf)[0]

    expected = gradient()
    make_frugal(model, FrugalSettings(tile_tokens=8))
    torch.testing.assert_close(gradient(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("qwen3_next", "Qwen3NextDecoderLayer does not call an attention that can be taken out"),
        ("gpt_oss", "GptOssDecoderLayer trains its attention sinks"),
        ("bloom", "BloomBlock does not call an attention that can be taken out"),
    ],
)
def test_layers_that_cannot_be_cut_are_named_and_computed_again_as_a_whole(
    kind: str, reason: str
) -> None:
    model = make_model(kind)
    expected = passed(model, positions_of(20))
    installed = make_frugal(model, FrugalSettings())
    assert (installed.frugal, list(installed.plain), installed.tail) == (0, [reason], False)
    assert_equal(expected, passed(model, positions_of(20)), 1e-6)


def test_nothing_is_kept_when_nothing_is_trained() -> None:
    model = make_model("llama")
    make_frugal(model, FrugalSettings(tile_tokens=8))
    with torch.no_grad():
        output = model.base_model(input_ids=torch.arange(20)[None], use_cache=False)
    assert output.last_hidden_state.grad_fn is None


@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen3", "cohere", "gpt2", "phi"])
def test_the_tail_in_tiles_gives_the_loss_and_gradients_of_whole_logits(kind: str) -> None:
    model = make_model(kind, sliding_window=6)
    batch = make_batch([list(range(3, 42)), [7, 9, 200, 5, 31, 8], [1, 2]], prompt_tokens=2)
    batch.weights[0, 5:9] = 0.25

    def stepped(tile_tokens: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        module = LossModule(model, chunk_tokens=4, tile_tokens=tile_tokens)
        loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        (loss * 0.5).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        return loss.detach(), gradients

    expected = stepped(0)
    assert make_frugal(model, FrugalSettings(tile_tokens=16)).tail
    assert_equal(expected, stepped(8), 1.5e-5)  # rounding; torch 2.11's is a little coarser
    with torch.no_grad():
        module = LossModule(model, chunk_tokens=4, tile_tokens=8)
        loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
    torch.testing.assert_close(loss, expected[0])
