"""Streamed layers train as resident ones do, bit for bit, and the device has room for two of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, random_batch, save_model
from safetensors.torch import load_file, save_file
from same_bits import METHODS, digests, load, trained

from xtune.adapter.state import load_trainable_state, trainable_state
from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.heads import base_model, compute_device, decoder_layers
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
from xtune.kernels.shelf import DeviceShelf, HostShelf
from xtune.kernels.shelved import make_shelved
from xtune.kernels.stream import LayerStream, StreamedLayer, shelve_layer, stream_layers
from xtune.kernels.stream_pack import ALIGNMENT
from xtune.kernels.stream_rest import DiskRest, HostRest, Rest, host_memory
from xtune.kernels.weights import align_weights, weights_of
from xtune.models.load import load_model

CPU = torch.device("cpu")

LAYERS: dict[str, Callable[[torch.nn.Module], object]] = {
    "checkpointed": lambda model: make_shelved(model, DeviceShelf()),
    "host checkpoints": lambda model: make_shelved(model, HostShelf()),
    "frugal": lambda model: make_frugal(model, FrugalSettings(tile_tokens=16)),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five layers: more than there are slots, and an odd number."""
    folder = tmp_path_factory.mktemp("small")
    return str(save_model(folder, "qwen2", dtype="bfloat16", num_hidden_layers=5))


def rest_in(place: str, folder: Path) -> Rest:
    return HostRest(host_memory(CPU)) if place == "host" else DiskRest(folder / "layers")


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("lora", "disk"),
        ("nf4", "host"),
        ("nf4, plain scales", "disk"),
        ("int8", "host"),
        ("dora", "host"),
    ],
)
def test_bits_are_those_of_the_resident_layers(
    method: str, place: str, layers: str, small: str, tmp_path: Path
) -> None:
    resident, streamed = load(small, method), load(small, method)
    stream_layers(streamed, CPU, rest_in(place, tmp_path))
    for model in (resident, streamed):
        LAYERS[layers](model)
    assert digests(streamed, 3) == digests(resident, 3)


def test_the_demo_models_bits_are_those_of_the_resident_run(tmp_path: Path) -> None:
    """Twenty steps, beside torch's own checkpointing; the slow tests do two hundred."""
    resident = load("bundled:demo", "lora", torch_checkpoints=True)
    streamed = load("bundled:demo", "lora")
    stream_layers(streamed, CPU, rest_in("disk", tmp_path))
    make_shelved(streamed, DeviceShelf())
    assert digests(streamed, 20, 1) == digests(resident, 20, 1)


def test_products_with_one_token_in_float32_round_alike_wherever_the_weights_were(
    tmp_path: Path,
) -> None:
    """A processor's product of a matrix and one vector rounds by where the matrix begins; in a mapped file that is anywhere."""
    folder = save_model(tmp_path / "float32", "qwen3")
    file = folder / "model.safetensors"
    weights = load_file(file)
    for filler in ("", "8 bytes."):  # the header may end at any multiple of 8
        save_file(weights, file, metadata={"format": "pt", "filler": filler})
        if (8 + int.from_bytes(file.read_bytes()[:8], "little")) % 16:
            break
    plan = make_plan({"model": {"name": str(folder)}, "method": METHODS["lora"]})
    resident = load_model(plan)
    assert any(each.data_ptr() % 16 for each in resident.parameters())
    rest = rest_in("host", tmp_path)

    def shelve(index: int, layer: torch.nn.Module) -> None:
        del index
        shelve_layer(layer.requires_grad_(False), rest)

    streamed = load_model(plan, on_layer=shelve).requires_grad_(False)
    stream_layers(streamed, CPU, rest)
    logits = []
    for model in (resident, streamed):
        align_weights(model)
        with torch.no_grad():
            one_by_one = [
                model(input_ids=torch.tensor([[token]]), use_cache=False).logits
                for token in range(8)
            ]
        logits.append(torch.cat(one_by_one))
    assert torch.equal(*logits)


@pytest.mark.slow
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("place", ["host", "disk"])
@pytest.mark.parametrize("method", ["lora", "nf4", "int8"])
def test_two_hundred_steps_of_the_demo_model_are_the_resident_runs(
    method: str, place: str, layers: str, tmp_path: Path
) -> None:
    whole = layers == "checkpointed"
    resident = load("bundled:demo", method, torch_checkpoints=whole)
    streamed = load("bundled:demo", method)
    stream_layers(streamed, CPU, rest_in(place, tmp_path))
    LAYERS[layers](streamed)
    if not whole:
        LAYERS[layers](resident)
    assert digests(streamed, 200, 1) == digests(resident, 200, 1)


def streamed_model(
    name: str, method: str = "nf4", place: str = "host", folder: Path = Path()
) -> tuple[torch.nn.Module, LayerStream]:
    model = load(name, method)
    stream = stream_layers(model, CPU, rest_in(place, folder))
    make_shelved(model, DeviceShelf())
    return model, stream


def test_layers_that_are_there_at_the_turn_are_not_fetched_again(small: str) -> None:
    model, stream = streamed_model(small)
    module = LossModule(model, 64, 0).train()
    batch = random_batch(1, 20)
    counts = []
    for _ in range(3):
        before = stream.fetched
        module(batch.input_ids, batch.labels, batch.weights, batch.position_ids).backward()
        counts.append(stream.fetched - before)
    # of five layers, forward fetches all and backward the three that are gone; then two are there at each turn
    assert counts == [5 + 3, 3 + 3, 3 + 3]


def tables_of(state: Any) -> list[torch.Tensor]:
    """All tensors of a 4-bit weight's state, the nested one's among them."""
    own = [each for each in vars(state).values() if isinstance(each, torch.Tensor)]
    return own if state.state2 is None else own + tables_of(state.state2)


@pytest.mark.parametrize("method", ["nf4", "nf4, plain scales"])
def test_all_that_a_resting_weight_is_expanded_with_rests_beside_it(
    method: str, small: str
) -> None:
    from bitsandbytes.nn import Linear4bit

    model, _ = streamed_model(small, method)
    for layer in decoder_layers(model):
        streamed = weights_of(layer)
        assert isinstance(streamed, StreamedLayer)
        home = streamed.resting.flat.untyped_storage().data_ptr()
        for base in (each for each in layer.modules() if type(each) is Linear4bit):
            found = [base.weight.data, *tables_of(base.weight.quant_state)]
            assert {each.untyped_storage().data_ptr() for each in found} == {home}


def test_two_slots_of_the_largest_layer_are_all_that_the_device_holds(small: str) -> None:
    from bitsandbytes.nn import Linear4bit

    model, stream = streamed_model(small)
    layers = decoder_layers(model)
    largest = 0
    for layer in layers:
        bases = [each for each in layer.modules() if type(each) is Linear4bit]
        frozen = [each for each in layer.parameters() if not each.requires_grad]
        tables = [table for each in bases for table in tables_of(each.weight.quant_state)]
        alone = {each.data_ptr(): each.nbytes for each in (*frozen, *tables)}
        largest = max(largest, sum(-(-size // ALIGNMENT) * ALIGNMENT for size in alone.values()))
    assert stream.slot_bytes == 2 * largest
    seen: set[int] = set()

    def look(layer: torch.nn.Module, *_: object) -> None:
        seen.update(
            each.untyped_storage().data_ptr()
            for each in layer.parameters()
            if not each.requires_grad
        )

    for layer in layers:
        layer.self_attn.register_forward_pre_hook(look)
    batch = random_batch(1, 20)
    loss = LossModule(model, 64, 0).train()(
        batch.input_ids, batch.labels, batch.weights, batch.position_ids
    )
    loss.backward()
    assert len(seen) == 2


@pytest.mark.parametrize("place", ["host", "disk"])
def test_evaluation_and_generation_are_the_resident_models(
    place: str, small: str, tmp_path: Path
) -> None:
    resident = load(small, "lora").eval()
    streamed, stream = streamed_model(small, "lora", place, tmp_path)
    streamed.eval()
    batch = random_batch(2, 20)
    with torch.no_grad():
        losses = [
            LossModule(model, 64, 0)(
                batch.input_ids, batch.labels, batch.weights, batch.position_ids
            ).item()
            for model in (resident, streamed, streamed)
        ]
    assert losses[0] == losses[1] == losses[2]
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    before = stream.fetched
    written = [
        base_model(model).generate(input_ids=batch.input_ids[:1], **options)  # type: ignore[operator]
        for model in (resident, streamed)
    ]
    assert written[0].tolist() == written[1].tolist()
    assert stream.fetched - before == 12 * 5  # the first layer is fetched ahead of the next token


@pytest.mark.parametrize(
    ("method", "place"),
    [("lora", "disk"), ("nf4", "host"), ("nf4", "disk"), ("int8", "host"), ("nf4 dora", "host")],
)
def test_whoever_reads_the_model_finds_the_same_numbers(
    method: str, place: str, small: str, tmp_path: Path
) -> None:
    resident = load(small, method)
    streamed, _ = streamed_model(small, method, place, tmp_path)
    list(trained(resident, 1))
    list(trained(streamed, 1))
    expected, found = resident.state_dict(), streamed.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())


@pytest.mark.parametrize("method", ["lora", "nf4", "int8", "dora", "nf4 dora", "int8 dora"])
def test_layers_may_be_put_to_rest_before_the_adapter_comes(method: str, small: str) -> None:
    rest = HostRest(host_memory(CPU))

    def shelve(base: torch.nn.Module) -> None:
        base.requires_grad_(False)
        for layer in decoder_layers(base):
            shelve_layer(layer, rest)

    resident, streamed = load(small, method), load(small, method, before=shelve)
    stream_layers(streamed, CPU, rest).settle()
    for model in (resident, streamed):
        make_shelved(model, DeviceShelf())
    assert digests(streamed, 2) == digests(resident, 2)
    for layer in decoder_layers(streamed):
        found = weights_of(layer)
        assert isinstance(found, StreamedLayer)
        moving = {id(each) for each in found.moving()}  # on a GPU the others stay there
        assert all(each.requires_grad or id(each) in moving for each in layer.parameters())


def test_a_base_that_the_adapters_start_changed_is_put_to_rest_again(
    small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "pissa", {"type": "lora", "rank": 4, "init": "pissa"})
    rest = HostRest(host_memory(CPU))

    def shelve(base: torch.nn.Module) -> None:
        base.requires_grad_(False)
        for layer in decoder_layers(base):
            shelve_layer(layer, rest)

    resident, streamed = load(small, "pissa"), load(small, "pissa", before=shelve)
    stream_layers(streamed, CPU, rest).settle()
    for model in (resident, streamed):
        make_shelved(model, DeviceShelf())
    assert digests(streamed, 2) == digests(resident, 2)


def test_a_layer_that_would_lose_its_weights_before_the_backward_pass_is_refused(
    small: str,
) -> None:
    model = load(small, "lora")
    stream_layers(model, CPU, HostRest(host_memory(CPU)))
    batch = random_batch(1, 20)
    with pytest.raises(RuntimeError, match="make_shelved or make_frugal must follow"):
        LossModule(model, 64, 0).train()(
            batch.input_ids, batch.labels, batch.weights, batch.position_ids
        )


def test_a_failing_layer_leaves_its_weights_at_rest(small: str) -> None:
    model, _ = streamed_model(small, "lora")
    layer = decoder_layers(model)[2]
    rests = {name: each.data_ptr() for name, each in layer.named_parameters()}
    batch = random_batch(1, 20)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    hook = layer.self_attn.register_forward_pre_hook(fail)
    module = LossModule(model, 64, 0).train()
    arguments = (batch.input_ids, batch.labels, batch.weights, batch.position_ids)
    with pytest.raises(ZeroDivisionError):
        module(*arguments)
    hook.remove()
    assert {name: each.data_ptr() for name, each in layer.named_parameters()} == rests
    module(*arguments).backward()
    assert weights_of(layer) is not weights_of(torch.nn.Linear(1, 1))


def stepped(
    model: torch.nn.Module,
    frugal: bool,
    sink: dict[torch.nn.Parameter, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """The weights after three plain steps of a full fine-tune; a sink has the gradients that autograd did not get."""
    if frugal:
        assert make_frugal(model, FrugalSettings(tile_tokens=16)).frugal == 4
    else:
        make_shelved(model, DeviceShelf())
    module = LossModule(model, 64, 0).train()
    for step in range(3):
        batch = random_batch(2, 24, seed=step)
        torch.manual_seed(step)
        module(batch.input_ids, batch.labels, batch.weights, batch.position_ids).backward()
        for parameter in model.parameters():
            gradient = parameter.grad if sink is None else sink.get(parameter, parameter.grad)
            if gradient is not None:
                parameter.data.add_(gradient, alpha=-0.02)
        model.zero_grad()
    return {name: each.detach().clone() for name, each in model.named_parameters()}


@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize("kind", ["gemma2", "gpt2", "qwen3_moe"])
def test_trained_layers_give_their_gradients_to_whoever_asks(kind: str, frugal: bool) -> None:
    """Their weights change where they rest, so that no old copy may be computed with."""
    resident = make_model(kind, num_hidden_layers=4)
    streamed = make_model(kind, num_hidden_layers=4)
    gradients: dict[torch.nn.Parameter, torch.Tensor] = {}

    def sink(_: object, parameters: Any, found: Any) -> None:
        gradients.update(zip(parameters, found, strict=True))

    stream_layers(streamed, CPU, HostRest(host_memory(CPU)), on_gradients=sink)
    expected = stepped(resident, frugal)
    found = stepped(streamed, frugal, gradients)
    assert len(gradients) == sum(len(list(each.parameters())) for each in decoder_layers(streamed))
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_weights_that_are_loaded_where_they_rest_are_those_of_the_next_forward_pass() -> None:
    trained, streamed = (make_model("qwen2", num_hidden_layers=3) for _ in range(2))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.25)
    stream_layers(streamed, CPU, HostRest(host_memory(CPU)), on_gradients=lambda *_: None)
    # its probes compute with the layers, so that some are there when the weights come
    assert make_frugal(streamed, FrugalSettings(tile_tokens=16)).frugal == 3
    load_trainable_state(streamed, trainable_state(trained))
    batch = random_batch(1, 24)
    arguments = (batch.input_ids, batch.labels, batch.weights, batch.position_ids)
    expected, found = (
        LossModule(model, 64, 0).train()(*arguments).item() for model in (trained, streamed)
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_model_of_which_nothing_stays_computes_where_its_layers_come_to() -> None:
    model = make_model("qwen2")
    stream_layers(model, torch.device("meta"), HostRest(host_memory(CPU)))
    assert {each.device.type for each in model.parameters()} == {"cpu"}
    assert compute_device(model).type == "meta"


def test_a_streamed_model_that_nobody_has_any_more_is_freed(small: str, tmp_path: Path) -> None:
    import gc
    import weakref

    model, stream = streamed_model(small, "nf4", "disk", tmp_path)
    list(trained(model, 1))
    gone = [weakref.ref(each) for each in (model, stream, decoder_layers(model)[0])]
    del model, stream
    gc.collect()
    assert [each() for each in gone] == [None] * 3
