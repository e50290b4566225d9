"""Recorded configs: transformers builds each without weights, and it has the size its makers publish."""

import pytest

from xtune.catalog import recorded_config, recorded_ids

# Parameters as the hub's model pages state them (sums over the safetensors headers).
PUBLISHED = {
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B-Base": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "google/gemma-2-2b-it": 2_614_341_888,
    "google/gemma-3-4b-it": 4_300_079_472,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
}
# Not in transformers; by hand: embeddings and head, and per layer q, k, v, o, three MLP matrices, two norms.
BY_HAND = {
    "internlm/internlm2_5-7b-chat": 2 * 92_544 * 4096
    + 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096)
    + 4096,
    "internlm/internlm3-8b-instruct": 2 * 128_512 * 4096
    + 48 * (2 * 4096 * 4096 + 2 * 4096 * 256 + 3 * 4096 * 10_240 + 2 * 4096)
    + 4096,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recorded_config_builds_a_model_of_the_published_size(name):
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = recorded_config(name)
    settings = CONFIG_MAPPING[config.pop("model_type")](**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)

    assert sum(weight.numel() for weight in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", BY_HAND)
def test_a_recorded_config_of_a_model_with_its_own_code_adds_up_by_hand(name):
    config = recorded_config(name)
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    width = config["hidden_size"]
    attention = (
        2 * width * head_dim * (config["num_attention_heads"] + config["num_key_value_heads"])
    )
    layer = attention + 3 * width * config["intermediate_size"] + 2 * width

    total = 2 * config["vocab_size"] * width + config["num_hidden_layers"] * layer + width
    assert total == BY_HAND[name]


def test_ids_are_found_whatever_their_case_and_unknown_ones_are_not():
    assert recorded_config("qwen/qwen3-8b") == recorded_config("Qwen/Qwen3-8B")
    assert recorded_config("nobody/nothing") is None


def test_what_is_returned_can_be_changed_without_harm():
    recorded_config("Qwen/Qwen3-8B")["hidden_size"] = 1

    assert recorded_config("Qwen/Qwen3-8B")["hidden_size"] == 4096


def test_every_config_says_when_a_text_ends():
    for name in recorded_ids():
        assert recorded_config(name)["eos_token_id"], name
