"""A server whose memory runs out for real, by a limit on its address space: the answer fails, the rest goes on."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
import torch
from openai import OpenAI
from serve_support import served_command
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

PROMPT_TOKENS = 12_000

ROOM_BYTES = 250 << 20
"""More than short answers take, and less than one layer's activations of the long prompt: 12,000 x 8,192 x 4 bytes."""


@pytest.fixture(scope="module")
def wide_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=8192,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16_384,
        initializer_range=0.2,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's address space")
def test_an_answer_that_does_not_fit_fails_and_its_neighbour_does_not(wide_model: Path) -> None:
    with served_command(f"wide={wide_model}") as (process, url):
        client = OpenAI(base_url=url, api_key="none", max_retries=0)

        def short() -> str:
            pieces = client.completions.create(
                model="wide", prompt=[5, 6, 7], max_tokens=300, temperature=0, stream=True
            )
            return "".join(piece.choices[0].text for piece in pieces)

        before = short()
        words = Path(f"/proc/{process.pid}/statm").read_text().split()
        most = int(words[0]) * resource.getpagesize() + ROOM_BYTES
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
        with ThreadPoolExecutor() as pool:
            beside = pool.submit(short)
            for more in ({}, {"echo": True, "logprobs": 1}):
                with pytest.raises(openai.APIStatusError, match="does not fit") as caught:
                    client.completions.create(
                        model="wide", prompt=[5] * PROMPT_TOKENS, max_tokens=2, extra_body=more
                    )
                assert caught.value.status_code == 413
            assert beside.result() == before
        assert short() == before
