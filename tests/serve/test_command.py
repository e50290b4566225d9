"""`xtune serve` as a person starts and ends it: signals, keys, ports, names, vLLM."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from serve_support import START_SECONDS, served_command

from xtune import api
from xtune.errors import RunError, XtuneError
from xtune.serve.names import name_runs
from xtune.serve.vllm import vllm_command


def long_stream(url: str, key: str = "none") -> Any:
    client = OpenAI(base_url=url, api_key=key, max_retries=0)
    return client.completions.create(
        model="tiny", prompt="red", max_tokens=150, temperature=1.0, seed=1, stream=True,
        extra_body={"top_k": 0},
    )  # fmt: skip


def test_a_first_signal_lets_answers_end_and_the_key_is_nowhere_to_be_seen(
    tiny_model: Path,
) -> None:
    with served_command(f"tiny={tiny_model}", "--api-key", "sesame") as (process, url):
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"serve" in words
        assert b"sesame" not in words
        stream = long_stream(url, "sesame")
        pieces = [next(stream)]
        process.send_signal(signal.SIGTERM)
        pieces += list(stream)
        assert pieces[-1].choices[0].finish_reason in {"length", "stop"}
        output, errors = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0
        assert "sesame" not in output + errors
        assert "Traceback" not in errors


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tiny_model: Path) -> None:
    with served_command(f"tiny={tiny_model}") as (process, url):
        stream = OpenAI(base_url=url, api_key="none", max_retries=0).chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "red"}],
            n=16,
            max_tokens=200,
            temperature=1.0,
            stream=True,
        )
        next(stream)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 130
        assert "Traceback" not in errors
        stream.close()


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(tiny_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(XtuneError, match=f"port {port}: Address already in use"):
            api.serve([str(tiny_model)], address=("127.0.0.1", port))


def test_folders_are_named_and_names_are_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    assert [one.name for one in name_runs([str(tiny_model), "b=bundled:tasks"])] == [
        tiny_model.name,
        "b",
    ]
    with pytest.raises(RunError, match="Two models would be called b"):
        name_runs(["b=bundled:tasks", f"b={tiny_model}"])
    with pytest.raises(RunError, match="neither a run"):
        name_runs([str(tmp_path)])
    with pytest.raises(RunError, match="no folder"):
        name_runs([str(tmp_path / "absent")])


def test_vllm_is_given_the_base_and_its_adapters(tiny_model: Path) -> None:
    words = vllm_command(name_runs(["a=bundled:tasks"]), host="127.0.0.1", port=8000)
    adapter = words[words.index("--lora-modules") + 1].removeprefix("a=")
    rank = json.loads((Path(adapter) / "adapter_config.json").read_text())["r"]
    assert int(words[words.index("--max-lora-rank") + 1]) >= rank
    assert words[:2] == ["vllm", "serve"]
    assert (Path(words[2]) / "config.json").is_file()
    whole = vllm_command(name_runs([f"tiny={tiny_model}"]), host="::", port=1)
    assert whole[2:] == [
        str(tiny_model),
        "--served-model-name",
        "tiny",
        "--host",
        "::",
        "--port",
        "1",
    ]


def test_vllm_that_is_not_there_is_said_with_the_command(tiny_model: Path) -> None:
    with pytest.raises(XtuneError) as caught:
        api.serve_with_vllm([str(tiny_model)], host="127.0.0.1", port=8000, api_key="sesame")
    assert f"vllm serve {tiny_model}" in str(caught.value)
    assert "sesame" not in str(caught.value)
