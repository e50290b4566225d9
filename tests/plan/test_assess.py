"""What `xtune plan` answers, held against the plan itself and against hand calculations."""

import re
from dataclasses import replace
from typing import Any

import pytest
from machines import CPU, LLAMA_7B, gpu, make_recipe

from xtune.errors import HardwareError
from xtune.memory import GIB, ModelShape, Workload
from xtune.plan.advice import STEP_TOKENS
from xtune.plan.assess import Assessment, assess
from xtune.plan.cards import Card, cards, find_card, known_card, read_size, read_tokens
from xtune.plan.resolve import decide
from xtune.plan.speed import EFFICIENCY, seconds, tokens_per_second


@pytest.mark.parametrize("machine", [gpu(8), gpu(24), CPU], ids=["8", "24", "cpu"])
def test_the_longest_sequence_fits_and_a_longer_one_does_not(machine: object) -> None:
    found = assess(make_recipe("qlora"), machine, LLAMA_7B)

    def fits(tokens: int) -> bool:
        recipe = make_recipe("qlora", data__max_tokens=tokens)
        return decide(recipe, machine, LLAMA_7B)[1].fits

    assert fits(found.longest_tokens)
    assert not fits(found.longest_tokens + STEP_TOKENS)


def test_what_does_not_fit_is_answered_with_bytes_and_a_way_out() -> None:
    found = assess(make_recipe("full"), gpu(4), LLAMA_7B)
    assert not found.fits
    assert found.peak_bytes > found.budget_bytes == 4 * GIB
    change, peak = re.fullmatch(
        r"Cheapest way out: `method=(\w+)`, with a computed peak of ([\d.]+) GiB\.", found.advice
    ).groups()  # type: ignore[union-attr]
    then = decide(make_recipe(change), gpu(4), LLAMA_7B)[1]
    assert then.fits
    assert f"{then.predicted.peak_bytes / GIB:.2f}" == peak
    answer = found.to_json()
    assert answer["shortage"].startswith(f"computed peak {found.peak_bytes / GIB:.2f} GiB")


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("memory", [4, 24, 80])
def test_the_items_are_those_of_the_peak(method: str, memory: int) -> None:
    """Their sum is the peak, and none is negative or larger than the largest of its kind."""
    found = assess(make_recipe(method), gpu(memory), LLAMA_7B)
    answer, predicted = found.to_json(), found.plan.predicted
    assert predicted is not None
    assert sum(answer["items"].values()) == answer["peak_bytes"]
    for name, size in answer["items"].items():
        assert 0 <= size <= predicted.items.get(name, 0.1 * predicted.peak_bytes), name


def test_a_lack_of_host_memory_is_said() -> None:
    """7 billion weights trained in host memory take 6 bytes each; of 32 GiB nine tenths may be filled."""
    found = assess(make_recipe("full"), gpu(10), LLAMA_7B)
    assert not found.fits
    assert found.peak_bytes < found.budget_bytes
    assert found.host_bytes > 37 * GIB
    assert "of host memory (computed), and 28.80 GiB are there for it" in found.shortage
    assert f"What is short: {found.shortage}." in str(found)
    assert "DOES NOT FIT into host memory; on the device: computed peak" in str(found)


@pytest.mark.parametrize(
    ("card_gib", "advice"),
    [(16, "a machine with 8 GiB of host memory"), (1, "take a smaller model or a larger device")],
)
def test_a_host_too_small_for_the_program_itself_is_told_what_would_do(
    card_gib: int, advice: str
) -> None:
    """Python with torch, transformers, PEFT and CUDA is 2 GiB, and of 1 nine tenths may be filled: no technique helps."""
    machine = replace(gpu(card_gib), ram_bytes=GIB)
    found = assess(make_recipe("qlora"), machine, LLAMA_7B)
    assert not found.fits
    assert advice in found.advice
    assert found.longest_tokens == 0


def test_another_method_is_offered_before_rows_of_less_than_half() -> None:
    """On 14 GiB, 13 of them the weights of 7 billion parameters; a compiled model's layers are left whole and where they are."""

    def asked(tokens: int) -> Assessment:
        recipe = make_recipe("lora", data__max_tokens=tokens, train__compile=True)
        return assess(recipe, gpu(14), LLAMA_7B)

    most = asked(512).longest_tokens
    assert f"`data.max_tokens={most}`" in asked(2 * most).advice
    assert "`method=qlora`" in asked(2 * most + 64).advice


def test_lengths_beyond_the_models_positions_are_remarked_on_and_not_refused() -> None:
    found = assess(make_recipe("qlora", data__max_tokens=8192), gpu(24), LLAMA_7B)
    assert found.fits
    assert found.to_json()["max_positions"] == 4096
    assert any("beyond the 4,096 positions" in note for note in found.plan.notes)
    assert "the model was made for 4,096 (`max_position_embeddings`)" in str(found)
    within = assess(make_recipe("qlora", data__max_tokens=4096), gpu(24), LLAMA_7B)
    assert not within.plan.notes


def test_putting_the_table_aside_wins_over_computing_layers_again_where_it_takes_less_time() -> (
    None
):
    """Every plan that fits and computes no layer again, with what it leaves where, one by one: the chosen one is the fastest."""
    shape = ModelShape.from_config(
        {
            "model_type": "gemma", "hidden_size": 3360, "num_attention_heads": 21, "num_key_value_heads": 3, "head_dim": 160,
            "intermediate_size": 6000, "num_hidden_layers": 20, "vocab_size": 262144,
        }
    )  # fmt: skip
    machine, card = gpu(4), find_card("RTX 3060")
    seen = []
    for embeddings, head in (("device", "device"), ("host", "host")):
        recipe = make_recipe(
            "qlora", data__max_tokens=512, train__batch_size=1, memory__gradient_checkpointing=False,
            memory__embeddings=embeddings, memory__head=head,
        )  # fmt: skip
        _, found, _ = decide(recipe, machine, shape)
        seen.append((found.fits, seconds(shape, found.work, card)))
    (resident_fits, _), (aside_fits, aside) = seen
    assert (resident_fits, aside_fits) == (False, True)
    _, chosen, _ = decide(
        make_recipe("qlora", data__max_tokens=512, train__batch_size=1), machine, shape
    )
    assert chosen.fits
    assert chosen.work.gradient_checkpointing is False
    assert seconds(shape, chosen.work, card) <= aside


def test_a_model_that_does_not_fit_at_any_length_has_none() -> None:
    assert assess(make_recipe("qlora"), gpu(1), LLAMA_7B).longest_tokens == 0


def test_speed_is_products_over_the_cards_products() -> None:
    """7B without attention's share: forward, backward by the input, forward again, and the head there and back."""
    card = Card(name="test", vram_bytes=0, capability=(8, 6), flops=1e14, bandwidth=1e20, link=1e20)
    work = Workload(method="lora", rank=16, tokens=1, rows=4096)
    weights = LLAMA_7B.linear_weights
    attention = 2 * 4096 * 32 * (1 + 2.5 + 1)
    products = 6 * weights + 4 * LLAMA_7B.embedding_parameters + attention
    assert tokens_per_second(LLAMA_7B, work, card) == pytest.approx(EFFICIENCY * 1e14 / products)


def test_an_8_bit_base_waits_for_the_host_once_a_matrix_and_pass() -> None:
    """Beside 4 bits on a card whose memory costs nothing: 32 layers of 7 matrices, forward and again, a tenth of a millisecond each."""
    card = Card(name="test", vram_bytes=0, capability=(8, 6), flops=1e14, bandwidth=1e20, link=1e20)
    common: dict[str, Any] = {"method": "qlora", "rank": 16, "tokens": 8192}
    for more, passes in (({}, 2), ({"frugal": True, "tile_tokens": 4096}, 4)):
        four = seconds(LLAMA_7B, Workload(**common, **more, quantization="nf4"), card)
        eight = seconds(LLAMA_7B, Workload(**common, **more, quantization="int8"), card)
        assert eight - four == pytest.approx(32 * 7 * passes * 1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rtx3060", "RTX 3060"),
        ("RTX 3060 12GB", "RTX 3060"),
        ("RTX 3060 8GB", "RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop"),
        ("4060", "RTX 4060"),
        ("4060 Ti 16GB", "RTX 4060 Ti 16GB"),
        ("Tesla T4", "T4"),
        ("H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Max-Q"),
        ("Tesla V100-SXM2-32GB", "V100 32GB"),
        ("NVIDIA TITAN X (Pascal)", "Titan X Pascal"),
        ("RTX 3060 Mobile", "RTX 3060 Laptop"),
        ("RTX 3080 16GB Laptop GPU", "RTX 3080 Laptop 16GB"),
        ("a100 80", "A100 80GB"),
        ("A10G", "A10G"),
        ("T4 16GB", "T4"),
        ("B200 192GB", "B200"),
        ("GTX 1060", "GTX 1060 6GB"),
        ("RTX4060Ti16G", "RTX 4060 Ti 16GB"),
        ("A100-80G", "A100 80GB"),
        ("RTX_3060", "RTX 3060"),
        ("\uff32\uff34\uff38 3060", "RTX 3060"),
    ],
)
def test_cards_are_found_as_people_and_drivers_call_them(name: str, expected: str) -> None:
    assert find_card(name).name == expected


@pytest.mark.parametrize(
    ("name", "reported"),
    [("RTX 2060", 5.79), ("RTX 3070", 7.76), ("RTX 3080", 9.78), ("RTX 3060", 11.76), ("RTX 4080", 15.7), ("RTX 4090", 23.64), ("A100 80GB", 79.15)],
)  # fmt: skip
def test_a_card_has_what_a_driver_says_and_not_what_is_on_its_box(
    name: str, reported: float
) -> None:
    """What torch's messages call the total capacity, as people report them."""
    assert 0.98 * reported <= find_card(name).vram_bytes / GIB <= reported


def test_a_laptops_card_is_not_taken_for_its_larger_namesake() -> None:
    """As sold: 6 GB and not 12, 16 and not 24. One that is not in the table has the namesake's speed, as its memory is the driver's."""
    assert find_card("RTX 3060 Laptop GPU").vram_bytes == 5.75 * GIB
    assert find_card("RTX 4090 Laptop GPU").vram_bytes == round(15.6 * GIB)
    with pytest.raises(HardwareError, match="RTX 3050"):
        find_card("RTX 3050 8GB Laptop GPU")
    assert known_card("NVIDIA RTX 5880 Ada Generation Laptop GPU") == find_card("RTX 5880 Ada")


def test_an_unknown_card_is_answered_with_near_names() -> None:
    with pytest.raises(HardwareError, match="RTX 3060"):
        find_card("RTX 3061")
    with pytest.raises(HardwareError, match="--vram"):
        find_card("Voodoo 2")


def test_a_card_of_several_sizes_is_answered_with_them() -> None:
    with pytest.raises(HardwareError, match="did you mean A100 40GB or A100 80GB"):
        find_card("A100")
    with pytest.raises(HardwareError, match=r"did you mean RTX 4090\? With --vram"):
        find_card("RTX 4090 48GB")


def test_a_card_of_several_sizes_is_told_by_its_memory() -> None:
    """As `--gpu "RTX 5060 Ti" --vram 16GiB` does, and as a driver does, in whose names no sizes are."""
    assert find_card("RTX 5060 Ti", 16 * GIB).name == "RTX 5060 Ti 16GB"
    assert find_card("RTX 3060", 8 * GIB).name == "RTX 3060 8GB"
    assert find_card("RTX 3060", 6 * GIB).name == "RTX 3060"
    for card in cards():
        assert find_card(card.name) is card
        assert known_card(f"NVIDIA {card.name}", card.vram_bytes) is card


def test_the_table_of_cards_makes_sense() -> None:
    for card in cards():
        assert 3.7 * GIB <= card.vram_bytes <= 288 * GIB, card.name
        assert 4e12 <= card.flops <= 3e15, card.name
        assert (6, 0) <= card.capability <= (12, 0), card.name


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * GIB),
        ("8", 8 * GIB),
        ("24GB", 24 * 10**9),
        ("7.5 gib", round(7.5 * GIB)),
        ("512MiB", GIB // 2),
        ("1TB", 10**12),
        ("8589934592B", 8 * GIB),
        ("8589934592 bytes", 8 * GIB),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text, "--vram") == size


@pytest.mark.parametrize("text", ["8589934592", "10000TB"])
def test_bytes_without_a_unit_are_not_taken_for_gib(text: str) -> None:
    """A program may well give 8 GiB as a number of bytes; taken for GiB, everything would fit."""
    with pytest.raises(HardwareError, match=r"--vram is .* 1,024 TiB"):
        read_size(text, "--vram")


@pytest.mark.parametrize("text", ["", "eight", "8 apples", "-3GiB", "0"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(HardwareError, match="--vram"):
        read_size(text, "--vram")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("4096", 4096), ("4,096", 4096), ("32k", 32768), ("128 K", 131072), ("1M", 2**20)],
)
def test_lengths_are_read(text: str, tokens: int) -> None:
    """As lengths are published: 32k is 32,768."""
    assert read_tokens(text) == tokens


@pytest.mark.parametrize("text", ["0", "-1", "8.5", "many", "", "2000M", "1,00"])
def test_what_is_no_length_is_named(text: str) -> None:
    with pytest.raises(HardwareError, match=r"--tokens is .*; it must be a whole number from 1"):
        read_tokens(text)
