"""The chunked loss against torch's cross-entropy on whole logits."""

import pytest
import torch
from factories import causal_loss, make_batch, make_model, random_batch
from torch import nn
from torch.nn import functional

from xtune.data.types import Batch
from xtune.kernels.cross_entropy import LogitTransform, linear_cross_entropy
from xtune.kernels.heads import find_head
from xtune.kernels.loss import LossModule
from xtune.kernels.tail import Tail, Targets, tiled_loss

# architectures with something of their own before or after the head
KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 3.0},
    "gemma3_text": {"final_logit_softcapping": 5.0},
    "phi": {},
    "phi3": {},
    "gpt2": {
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "gpt_neox": {},
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25},
    "olmo2": {},
    "nanochat": {"final_logit_softcapping": 4.0},  # not in the table: goes through its own forward
}


def reference(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Torch's cross-entropy over all logits that transformers returns."""
    logits = model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
    ).logits
    losses = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="none"
    )
    return (losses * batch.weights[:, 1:].flatten().to(losses.dtype)).sum()


def weighted_batch() -> Batch:
    """Prompts, padding, and weights between 0 and 1."""
    batch = make_batch([list(range(3, 22)), [7, 9, 200, 5, 31, 8], [1, 2]], prompt_tokens=2)
    batch.weights[0, 5:9] = 0.25
    batch.weights[0, 9] = 0.0
    return batch


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_whole_logits(kind: str) -> None:
    settings = {"vocab_size": 264, "tie_word_embeddings": False, **KINDS[kind]}
    model = make_model(kind, pad_token_id=0, **settings).double().train()
    batch = weighted_batch()
    expected = reference(model, batch)
    expected.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    loss = causal_loss(model, batch, chunk_tokens=5)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for name, parameter in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("chunk", [1, 3, 16, 1000])
def test_the_chunk_size_does_not_change_the_loss(chunk: int) -> None:
    model = make_model("qwen3")
    batch = weighted_batch()
    whole = reference(model, batch)
    torch.testing.assert_close(
        causal_loss(model, batch, chunk_tokens=chunk), whole, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["qwen3", "nanochat"])
def test_a_batch_without_trained_tokens_has_loss_zero_and_reaches_every_parameter(
    kind: str,
) -> None:
    model = make_model(kind, pad_token_id=0, tie_word_embeddings=False).train()
    batch = random_batch()
    batch.labels.fill_(-100)
    loss = causal_loss(model, batch, chunk_tokens=4)
    loss.backward()
    assert loss.item() == 0.0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # DDP waits for ever for one that has none
        assert not parameter.grad.any(), name


def test_only_trained_positions_reach_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    linear = functional.linear

    def counting(
        hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        if weight.shape[0] == 264:
            rows.append(hidden.shape[0])
        return linear(hidden, weight, bias)

    monkeypatch.setattr("xtune.kernels.cross_entropy.functional.linear", counting)
    batch = make_batch([list(range(20))], prompt_tokens=13)
    causal_loss(make_model("qwen3"), batch, chunk_tokens=4)
    assert rows == [4, 3]


@pytest.mark.parametrize("trains_head", [True, False])
def test_autocast_gives_bfloat16_products_and_a_float32_softmax(trains_head: bool) -> None:
    torch.manual_seed(0)
    head = nn.Linear(32, 100, bias=True)
    head.requires_grad_(trains_head)
    hidden = torch.randn(11, 32, requires_grad=True)
    labels, weights = torch.randint(0, 100, (11,)), torch.rand(11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(
            hidden, head, labels, weights, chunk_tokens=4, transform=LogitTransform()
        )
        logits = head(hidden)
    expected = (functional.cross_entropy(logits.float(), labels, reduction="none") * weights).sum()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    got = torch.autograd.grad(loss, hidden)[0]
    want = torch.autograd.grad(expected, hidden)[0]
    assert got.dtype == torch.float32
    assert functional.cosine_similarity(got.flatten(), want.flatten(), dim=0) > 0.9999


def test_the_gradient_passes_torchs_gradcheck() -> None:
    torch.manual_seed(0)
    head = nn.Linear(5, 7).double()
    labels, weights = torch.randint(0, 7, (6,)), torch.rand(6)

    def loss(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        head.weight, head.bias = nn.Parameter(weight), nn.Parameter(bias)
        del head.weight, head.bias
        head.weight, head.bias = weight, bias
        transform = LogitTransform(scale=0.7, softcap=2.0)
        return linear_cross_entropy(
            hidden, head, labels, weights.double(), chunk_tokens=4, transform=transform
        )

    inputs = (torch.randn(6, 5).double(), head.weight.detach().clone(), head.bias.detach().clone())
    assert torch.autograd.gradcheck(loss, tuple(value.requires_grad_() for value in inputs))


def test_small_float16_gradients_survive_the_loss_scale() -> None:
    torch.manual_seed(0)
    head = nn.Linear(16, 50, bias=False).requires_grad_(False)
    hidden = (torch.randn(4, 16) * 1e-3).half().requires_grad_()
    half = nn.Linear(16, 50, bias=False).requires_grad_(False)
    half.weight.data = (head.weight.data * 1e-5).half()
    labels = torch.randint(0, 50, (4,))
    loss = linear_cross_entropy(
        hidden, half, labels, torch.ones(4), chunk_tokens=2, transform=LogitTransform()
    )
    (loss * 65536.0).backward()
    wide = hidden.detach().float().requires_grad_()
    expected = functional.cross_entropy(wide @ half.weight.float().T, labels, reduction="sum")
    (expected * 65536.0).backward()
    torch.testing.assert_close(hidden.grad.float(), wide.grad, rtol=5e-3, atol=1e-5)


def test_small_float16_gradients_survive_the_loss_scale_in_tiles_too() -> None:
    torch.manual_seed(0)
    half = nn.Linear(16, 50, bias=False).requires_grad_(False)
    half.weight.data = (half.weight.data * 1e-5).half()
    hidden = (torch.randn(1, 4, 16) * 1e-3).half().requires_grad_()
    labels, columns = torch.randint(0, 50, (4,)), torch.arange(4)

    def loss(states: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return linear_cross_entropy(
            states, half, labels, weights, chunk_tokens=2, transform=LogitTransform()
        )

    targets = Targets(torch.zeros_like(columns), columns, labels, torch.ones(4))
    wide = hidden.detach().float().requires_grad_()
    total = tiled_loss(hidden, targets, Tail(loss=loss, parameters=(), tile_tokens=3))
    (total * 65536.0).backward()
    logits = wide[0] @ half.weight.float().T
    (functional.cross_entropy(logits, labels, reduction="sum") * 65536.0).backward()
    torch.testing.assert_close(hidden.grad.float(), wide.grad, rtol=5e-3, atol=1e-5)


def test_no_graph_is_kept_in_evaluation() -> None:
    model = make_model("qwen3")
    with torch.no_grad():
        loss = causal_loss(model, random_batch(), chunk_tokens=4)
    assert not loss.requires_grad


def test_packed_rows_do_not_see_each_other() -> None:
    model = make_model("qwen3")
    first, second = list(range(10, 18)), list(range(30, 42))
    packed = make_batch([first + second], prompt_tokens=1)
    packed.labels[0, len(first)] = -100
    packed.weights[0, len(first)] = 0.0
    packed.position_ids = torch.tensor([[*range(len(first)), *range(len(second))]])
    alone = sum(
        causal_loss(model, make_batch([row], prompt_tokens=1), chunk_tokens=8)
        for row in (first, second)
    )
    torch.testing.assert_close(
        causal_loss(model, packed, chunk_tokens=8), alone, rtol=1e-5, atol=1e-4
    )


def test_a_model_with_hooks_on_its_head_is_not_bypassed() -> None:
    model = make_model("qwen3")
    model.lm_head.register_forward_hook(lambda *call: call[-1] * 0.5)
    batch = random_batch()
    head = find_head(model)
    assert head is not None
    assert not head.is_plain
    torch.testing.assert_close(
        causal_loss(model, batch, chunk_tokens=4), reference(model, batch), rtol=1e-5, atol=1e-4
    )


def test_the_module_takes_what_a_batch_holds() -> None:
    model, batch = make_model("llama"), random_batch()
    module = LossModule(model, 8)
    assert torch.equal(
        module(batch.input_ids, batch.labels, batch.weights, batch.position_ids),
        causal_loss(model, batch, chunk_tokens=8),
    )
