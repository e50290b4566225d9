"""The simulation against a CPU's allocator and bitsandbytes' own layers; the closed formulas against the simulation."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from allocations import profiled_peak
from factories import make_model, make_plan, make_tokenizer, save_model
from transformers import AutoConfig

from benchmarks import simulation
from benchmarks.simulated_model import SimulatedInt8Matrix, SimulatedNf4Matrix
from benchmarks.simulation import CONFIGS, STYLES, Ledger, at_depth, simulate
from xtune.adapter.attach import attach
from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.head_slices import Int8Matrix, Nf4Matrix
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf
from xtune.kernels.shelved import make_shelved
from xtune.kernels.stream import stream_layers
from xtune.kernels.stream_rest import HostRest
from xtune.memory import ModelShape, Workload, predict
from xtune.models.load import load_model
from xtune.train.techniques import apply_techniques

SMALL = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 2048,
    "max_position_embeddings": 4096,
}
TOKENS = 1024


def qlora(**fields: Any) -> Workload:
    return Workload(method="qlora", quantization="nf4", rank=16, **fields)


@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize(
    ("fields", "tokens"), [({}, TOKENS), ({"tie_word_embeddings": True, "vocab_size": 32768}, 64)]
)
def test_the_ledger_counts_what_the_allocator_gives_out(
    frugal: bool, fields: dict[str, Any], tokens: int
) -> None:
    """Of a large matrix that is embedding and head two gradients are there, and their sum is no third."""
    model = make_model("llama", **{**SMALL, **fields}).train()
    if frugal:
        make_frugal(model, FrugalSettings(tile_tokens=256))
    module = LossModule(model, 64, 256 if frugal else 0)
    ids = torch.randint(0, 2000, (1, tokens))

    def step() -> None:
        positions = torch.arange(tokens)[None]
        module(ids, ids, torch.ones(1, tokens), positions).backward()
        model.zero_grad()

    step()
    expected = profiled_peak(step)
    ledger = Ledger()
    for tensor in (*model.parameters(), *model.buffers(), ids):
        ledger.enter(tensor, "there before")
    before = ledger.bytes
    with ledger:
        step()
    assert ledger.peak - before == pytest.approx(expected, rel=0.01)


class Held(torch.autograd.Function):
    """Gives a gradient that something else has too."""

    elsewhere: ClassVar[list[torch.Tensor]] = []

    @staticmethod
    def forward(_: Any, given: torch.Tensor) -> torch.Tensor:
        """What is given."""
        return given.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Twice the gradient."""
        Held.elsewhere[:] = [2 * gradient]
        return Held.elsewhere[0]


@pytest.mark.parametrize(
    "branches",
    [
        lambda given: (given + given.sin()) * 3,
        lambda given: given * 2 + given * 3 + given * 4,
        lambda given: given.clone() * 2 + Held.apply(given) * 2,
        lambda given: Held.apply(given) * 2 + given.clone() * 2,
        lambda given: (given.view(-1) * 2).sum() + given.t().exp().sum(),
    ],
    ids=["residual", "three", "waits elsewhere too", "comes from elsewhere", "views"],
)
def test_the_ledger_counts_sums_of_gradients_as_autograd_makes_them(
    branches: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """In place, where the one that waits is nothing else's."""
    given = torch.randn(64, 1024, requires_grad=True)

    def backward_peak(run: Callable[[Callable[[], object]], int]) -> int:
        result = branches(given * 2).sum()
        given.grad = None
        Held.elsewhere.clear()
        return run(result.backward)

    def followed(step: Callable[[], object]) -> int:
        ledger = Ledger()
        with ledger:
            step()
        return ledger.peak

    expected = backward_peak(profiled_peak)
    assert backward_peak(followed) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("style", "dora"),
    [*((style, False) for style in STYLES), ("checkpointed", True), ("frugal, host", True)],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_simulated_steps_take_the_bytes_of_real_ones(
    style: str, dora: bool, tmp_path: Path
) -> None:
    """Bitsandbytes' NF4 layers and PEFT's adapters, run with numbers, beside their stand-ins without."""
    folder = save_model(tmp_path / "model", "llama", dtype="bfloat16", **SMALL)
    fields: dict[str, Any] = {
        "optimizer": "none",
        "loss_chunk_tokens": 64,
        "tile_tokens": 256,
        "dora": dora,
    }
    work = qlora(tokens=TOKENS, **fields, **STYLES[style])
    plan = make_plan(
        {
            "model": {"name": str(folder)},
            "method": {"type": "qlora", "rank": 16, "dora": dora},
        },
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        autocast=True,
        gradient_checkpointing=style == "checkpointed",
    )
    model = attach(load_model(plan), plan, make_tokenizer())
    ledger = Ledger()
    module = prepared(model, work, ledger)
    before = entered(model, ledger)
    with simulation.cuda_autocast(), ledger:
        for _ in range(2):
            ledger.reset()
            simulation.run_step(module, work)
            for parameter in model.parameters():
                parameter.grad = None
    found = simulate(AutoConfig.from_pretrained(folder), work, block=1, scratch=False)
    assert found.peak - found.resident == pytest.approx(ledger.peak - before, rel=0.01)


def test_eight_bit_layers_that_are_computed_again_let_go_of_what_they_read(tmp_path: Path) -> None:
    """Bitsandbytes keeps it outside of what autograd saves, where transformers' checkpointing does not find it."""
    folder = save_model(tmp_path / "model", "llama", dtype="bfloat16", **SMALL)
    plan = make_plan(
        {
            "model": {"name": str(folder)},
            "method": {"type": "qlora", "rank": 4, "quantization": "int8"},
        },
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        autocast=True,
        gradient_checkpointing=True,
    )
    model = attach(load_model(plan), plan, make_tokenizer()).train()
    apply_techniques(model, plan, tmp_path)
    ids = torch.zeros(1, TOKENS, dtype=torch.int64)
    ledger = Ledger()
    before = entered(model, ledger)
    with torch.autocast("cpu", dtype=torch.bfloat16), ledger:
        hidden = model.base_model.model.model(ids, use_cache=False).last_hidden_state
        kept = ledger.bytes - before
    assert hidden.requires_grad
    states = TOKENS * SMALL["hidden_size"] * 2
    layers = model.config.num_hidden_layers
    # an input of each layer, the last norm's input in both types and output, rotary tables; a layer alone would keep 9 more
    assert kept < (layers + 5) * states


def prepared(model: torch.nn.Module, work: Workload, ledger: Ledger) -> LossModule:
    def on_host(count: int) -> torch.Tensor:
        with ledger.host():
            return torch.empty(count, dtype=torch.uint8)

    shelf: Shelf = (
        DeviceShelf()
        if work.checkpoint_place == "device"
        else HostShelf(on_host, ahead=not work.frugal)
    )
    if work.base_place != "device":
        with ledger:
            stream_layers(model, torch.device("cpu"), HostRest(on_host))
    if work.frugal:
        make_frugal(model, FrugalSettings(tile_tokens=work.tile_tokens), shelf)
    elif work.checkpoint_place != "device":
        make_shelved(model, shelf)
    return LossModule(model, work.loss_chunk_tokens, work.tile_tokens if work.frugal else 0)


def entered(model: torch.nn.Module, ledger: Ledger) -> int:
    """Tell the ledger of everything that is there before the step; returns its bytes."""
    for tensor in (*model.parameters(), *model.buffers()):
        ledger.enter(tensor, "there before")
    for module in model.modules():
        with suppress(AttributeError):
            state: Any = module.quant_state
            for tensor in (state.absmax, state.code, state.offset):
                ledger.enter(tensor, "there before")
            for tensor in (state.state2.absmax, state.state2.code):
                ledger.enter(tensor, "there before")
    return ledger.bytes


def test_of_a_streamed_base_the_device_holds_two_layers() -> None:
    """By hand: of 256-wide layers with 4-bit matrices and two norms, two of three are left."""
    config = AutoConfig.for_model("llama", **SMALL, num_hidden_layers=3)
    fields = {"tokens": 256, "optimizer": "none", "loss_chunk_tokens": 64, "tile_tokens": 256}
    resident, streamed = (
        simulate(config, qlora(**fields, **STYLES[style]), block=1, scratch=False)
        for style in ("frugal, host", "streamed")
    )
    matrices = [256 * 256] * 2 + [64 * 256] * 2 + [704 * 256] * 3
    # half a byte a weight, a byte for 64 of them, and a float32 for 256 of these
    parts = [*(n // 2 for n in matrices), *(n // 64 for n in matrices), 512, 512]
    parts += [4 * -(-n // 64 // 256) for n in matrices]
    aligned = sum(-(-part // 256) * 256 for part in parts)
    assert streamed.resident - resident.resident == 2 * aligned - 3 * sum(parts)
    assert streamed.peak - streamed.resident == resident.peak - resident.resident


@pytest.mark.parametrize(
    ("model", "tokens", "style"),
    [
        ("llama-3.1-8b", 8192, "frugal, host"),
        ("llama-2-7b", 8192, "checkpoints host"),
        ("qwen3-8b", 4096, "frugal"),
    ],
)
def test_formulas_are_within_three_percent_of_the_simulation_at_full_width(
    model: str, tokens: int, style: str
) -> None:
    """`python -m benchmarks.simulation` prints more models and lengths."""
    config = AutoConfig.for_model(**CONFIGS[model])
    shape = ModelShape.from_config(config.to_dict())
    fields = {"optimizer": "adamw_8bit", "loss_chunk_tokens": 512}
    work = qlora(tokens=tokens, **fields, **STYLES[style])
    computed = predict(shape, work)
    allocated = computed.tensor_bytes
    simulated = at_depth(config, work, shape.layers)
    assert allocated == pytest.approx(simulated, rel=0.03)


MEDIUM = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 3,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 768}


@pytest.mark.parametrize(
    ("model_type", "fields", "work"),
    [
        ("gemma2", {"head_dim": 128}, {"attention": "eager", **STYLES["frugal, host"]}),
        ("gemma2", {"head_dim": 128}, {"attention": "eager"}),
        ("qwen3_moe", {"head_dim": 128, **EXPERTS}, {}),
        ("phi3", {}, {"method": "lora", "quantization": None}),
        ("phi3", {}, STYLES["frugal, host"]),
        (
            "llama",
            {},
            {"method": "lora", "quantization": None, "dora": True, **STYLES["frugal, host"]},
        ),
        (
            "mixtral",
            {"head_dim": 128, "num_local_experts": 4, "intermediate_size": 1024},
            {"method": "full", "quantization": None, "weight_dtype": "float32"},
        ),
        ("llama", {}, {"method": "full", "quantization": None, "weight_dtype": "float32"}),
        *(
            (
                "llama",
                {"tie_word_embeddings": True, "vocab_size": 151936},
                {"method": "full", "quantization": None, "tokens": 512, **fields},
            )
            for fields in ({}, {"accumulation_steps": 2}, {"fused_step": True})
        ),
    ],
    ids=[
        "soft caps in blocks",
        "soft caps",
        "experts",
        "LoRA",
        "fused projections in tiles",
        "DoRA in tiles",
        "experts in float32",
        "full in float32",
        "one matrix",
        "one matrix, accumulated",
        "one matrix, fused",
    ],
)
def test_formulas_know_every_family_and_method(
    model_type: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    config = AutoConfig.for_model(model_type, **{**MEDIUM, **fields})
    given = {"loss_chunk_tokens": 512, "tile_tokens": 1024, "optimizer": "adamw_8bit"}
    wanted = replace(qlora(tokens=4096, **given), **work)
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize(
    ("model_type", "again"),
    [
        ("cwm", False),
        ("persimmon", False),
        ("persimmon", True),
    ],
)
def test_of_types_that_are_not_known_rather_too_much_is_computed(
    model_type: str, again: bool
) -> None:
    """CWM is a Llama, Persimmon has LayerNorm and what the operations keep that its activation is made of."""
    config = AutoConfig.for_model(model_type, **{**MEDIUM, "head_dim": 128})
    shape = ModelShape.from_config(config.to_dict())
    assert not shape.known
    work = qlora(tokens=2048, gradient_checkpointing=again, loss_chunk_tokens=128)
    computed = predict(shape, work)
    allocated = computed.tensor_bytes
    assert allocated >= 0.99 * simulate(config, work).peak


FEW: dict[str, Any] = {
    "tokens": 64,
    "dora": True,
    "frugal": True,
    "checkpoint_place": "host",
    "base_place": "host",
}
"""Tokens that are outweighed by the matrices that DoRA makes of one linear layer."""


@pytest.mark.parametrize("quantization", [None, "nf4"])
@pytest.mark.parametrize("targets", [("q_proj", "k_proj", "v_proj", "o_proj"), ("o_proj",)])
def test_formulas_know_the_matrices_that_dora_makes_beside_few_tokens(
    targets: tuple[str, ...], quantization: Any
) -> None:
    """In float32 beside an unquantised base; beside a quantised one in the type of what a linear layer reads."""
    config = AutoConfig.for_model("llama", **{**MEDIUM, "vocab_size": 1000})
    method: Any = "qlora" if quantization else "lora"
    work = Workload(
        method=method, quantization=quantization, rank=4, targets=targets, loss_chunk_tokens=64, **FEW
    )  # fmt: skip
    computed = predict(ModelShape.from_config(config.to_dict()), work)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, work).peak, rel=0.03)


@pytest.mark.parametrize("form", ["nf4", "int8"])
def test_heads_in_fewer_bits_are_simulated_with_the_bytes_of_real_ones(form: str) -> None:
    """What a real one holds and expands, of two slices; bitsandbytes' two code books of a slice, 2 KiB, are left out."""
    weight = torch.randn(3000, 128, dtype=torch.bfloat16)
    real, stand_in = (
        (Nf4Matrix, SimulatedNf4Matrix) if form == "nf4" else (Int8Matrix, SimulatedInt8Matrix)
    )
    matrix = real(weight, torch.device("cpu"), 2000)
    simulated = stand_in(weight, 2000)
    codes = 0
    if isinstance(matrix, Nf4Matrix):
        states = [state for _, state in matrix._packed]
        codes = sum(s.code.nbytes + s.state2.code.nbytes + s.offset.nbytes for s in states)
    assert _bytes_held(simulated) == _bytes_held(matrix) - codes
    for expected, found in zip(matrix.slices(), simulated.slices(), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype


def _bytes_held(matrix: object) -> int:
    """Bytes of every tensor that hangs on an object."""
    waiting, seen, total = [matrix], set(), 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, torch.Tensor):
            if each.data_ptr() not in seen:
                total += each.nbytes
                seen.add(each.data_ptr())
        elif isinstance(each, list | tuple):
            waiting += each
        elif hasattr(each, "__dict__"):
            waiting += vars(each).values()
    return total


NARROW: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "sliding_window": 500,
    "num_hidden_layers": 2,
}
"""Little but attention."""

TILES: dict[str, Any] = {"frugal": True, "tile_tokens": 512, "checkpoint_place": "host"}
WIDE_KEYS = {"num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 128}
SOME = {"num_hidden_layers": 4, "use_sliding_window": True, "max_window_layers": 2}
LONG_AND_SHORT = ((2047, 1),)


def computed_bytes(config: Any, work: Workload) -> int:
    computed = predict(ModelShape.from_config(config.to_dict()), work)
    return computed.tensor_bytes


@pytest.mark.parametrize(
    ("model_type", "fields", "work"),
    [
        ("mistral", {}, TILES),
        ("gemma3_text", WIDE_KEYS, TILES),
        ("qwen2", SOME, {"gradient_checkpointing": False}),
        ("qwen2", SOME, {"attention": "eager"}),
        ("phi3", {}, {"attention": "eager"}),
        ("gemma3_text", {"head_dim": 64, "num_hidden_layers": 6}, {"packing": True}),
    ],
    ids=[
        "blocks of a window",
        "norms of wide keys",
        "windows in some layers",
        "eager, two masks",
        "eager, one mask",
        "packed, two masks",
    ],
)
def test_formulas_know_windows(
    model_type: str, fields: dict[str, Any], work: dict[str, Any]
) -> None:
    config = AutoConfig.for_model(model_type, **{**NARROW, **fields})
    wanted = qlora(tokens=2048, optimizer="adamw_8bit", loss_chunk_tokens=64, **work)
    assert computed_bytes(config, wanted) == pytest.approx(simulate(config, wanted).peak, rel=0.03)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma2"])
def test_packed_rows_take_no_more_than_a_sample_as_long_as_a_row(model_type: str) -> None:
    """What is computed holds for any samples; of a long one and a short one it is what they take."""
    capped = model_type == "gemma2"
    sizes = {"num_key_value_heads": 1, "head_dim": 64, "intermediate_size": 256}
    sizes |= {"query_pre_attn_scalar": 64} if capped else {}
    config = AutoConfig.for_model(model_type, **{**NARROW, **sizes})
    given = {"attention": "eager"} if capped else {}
    work = qlora(
        tokens=2048, optimizer="adamw_8bit", loss_chunk_tokens=64, packing=True, **given, **TILES
    )
    computed = computed_bytes(config, work)
    found = simulate(config, work, samples=LONG_AND_SHORT).peak
    assert computed == pytest.approx(found, rel=0.03)
    many = simulate(config, work, samples=((700, 1, 600, 47, 700),)).peak
    assert many <= computed


SLIM = {**MEDIUM, "hidden_size": 1024, "intermediate_size": 2816, "num_attention_heads": 8}
SLIM |= {"num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 1000}


@pytest.mark.parametrize(
    ("model_type", "targets", "work"),
    [
        ("llama", ("q_proj", "v_proj"), {"frugal": True}),
        ("llama", ("down_proj",), {"frugal": True}),
        ("llama", ("gate_proj",), {}),
        ("llama", ("o_proj",), {"checkpoint_place": "host", "base_place": "host"}),
        ("llama", ("down_proj",), {"gradient_checkpointing": False}),
        ("phi3", ("gate_up_proj", "down_proj"), {"method": "lora", "quantization": None}),
        ("llama", ("all-linear",), {"dropout": True}),
        ("llama", ("all-linear",), {"dropout": True, "dora": False}),
    ],
)
def test_formulas_know_dora_on_a_part_of_the_linear_layers_and_dropout(
    model_type: str, targets: tuple[str, ...], work: dict[str, Any]
) -> None:
    config = AutoConfig.for_model(model_type, **SLIM)
    fields = {"optimizer": "adamw", "loss_chunk_tokens": 64, "tile_tokens": 512}
    wanted = qlora(tokens=1000, dora=True, **fields)
    ends = {"embeddings_place": "host", "head_form": "host"}
    wanted = replace(wanted, targets=targets, rank=4, **{**ends, **work})
    computed = predict(ModelShape.from_config(config.to_dict()), wanted)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, wanted).peak, rel=0.03)


def test_tiles_take_queries_that_dora_made_float32_beside_16_bit_keys(tmp_path: Path) -> None:
    """As under CUDA's autocast, where PEFT does not cast back what a quantised layer with DoRA gives."""
    folder = save_model(tmp_path / "model", "llama", dtype="bfloat16", **SMALL)
    method = {"type": "qlora", "rank": 4, "dora": True, "targets": ["q_proj", "v_proj"]}
    plan = make_plan(
        {"model": {"name": str(folder)}, "method": method},
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        autocast=True,
        gradient_checkpointing=False,
    )
    found = []
    for frugal in (False, True):
        torch.manual_seed(0)
        model = attach(load_model(plan), plan, make_tokenizer()).train()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        if frugal:
            installed = make_frugal(model, FrugalSettings(tile_tokens=64))
            assert installed.frugal > 0
            assert not installed.plain
        module = LossModule(model, 64, 64 if frugal else 0)
        torch.manual_seed(1)
        ids = torch.randint(0, 2000, (1, 256))
        autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        with simulation.cuda_autocast(), autocast:
            loss = module(ids, ids, torch.ones(1, 256), torch.arange(256)[None])
        with simulation.cuda_autocast():
            loss.backward()
        found.append([each.grad for each in model.parameters() if each.grad is not None])
    assert len(found[0]) == len(found[1]) > 0
    for plain, tiled in zip(*found, strict=True):
        # both are rounded to 8 bits on their way
        assert (plain - tiled).norm() <= 0.1 * plain.norm()
