"""`xtune serve` as a person starts and ends it: signals, keys, ports, names, vLLM."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from serve_support import START_SECONDS, served_command

from xtune import api
from xtune.demo.bundled import bundled_path
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
    assert words[words.index("--max-lora-rank") + 1] == str(rank) == "16"
    assert words[:2] == ["vllm", "serve"]
    assert (Path(words[2]) / "config.json").is_file()
    assert words[words.index("--served-model-name") + 1] == "bundled:demo"
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


def adapter_with(folder: Path, **changes: object) -> str:
    """The bundled adapter with another configuration."""
    bundled = bundled_path("bundled:tasks")
    folder.mkdir()
    for path in bundled.glob("adapter_*"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "has DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"trainable_token_indices": [3]}, "trained tokens"),
        ({"bias": "all", "rank_pattern": {"q_proj": 600}}, "biases and a rank above 512"),
    ],
    ids=["dora", "modules", "tokens", "bias-and-rank"],
)
def test_an_adapter_that_vllm_refuses_is_refused_before_it_starts(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    """What vLLM 0.33 refuses: `_validate_features` in its vllm/lora/peft_helper.py."""
    named = name_runs(["a=" + adapter_with(tmp_path / "a", **changes)])
    with pytest.raises(XtuneError, match=said) as caught:
        vllm_command(named, host="127.0.0.1", port=8000)
    assert "xtune merge" in str(caught.value)


def test_vllm_is_told_the_largest_rank_of_any_layer(tmp_path: Path) -> None:
    runs = [adapter_with(tmp_path / "a", r=6, rank_pattern={"q_proj": 40}), "b=bundled:tasks"]
    words = vllm_command(name_runs(runs), host="127.0.0.1", port=8000)
    assert words[words.index("--max-lora-rank") + 1] == "64"  # vLLM knows 1, 8, 16, 32, 64, ...
    assert words[words.index("--max-loras") + 1] == "2"


def test_adapters_with_templates_of_their_own_are_not_served_together_by_vllm(
    tmp_path: Path,
) -> None:
    one = Path(adapter_with(tmp_path / "a"))
    for path in bundled_path("bundled:demo").glob("*"):
        if path.suffix in {".jinja", ".json"} and path.name != "config.json":
            (one / path.name).write_bytes(path.read_bytes())
    (one / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(XtuneError, match=r"a and b differ in chat_template\.jinja"):
        vllm_command(name_runs([str(one), "b=bundled:tasks"]), host="127.0.0.1", port=8000)
    alone = vllm_command(name_runs([str(one)]), host="127.0.0.1", port=8000)
    assert alone[alone.index("--chat-template") + 1] == str(one / "chat_template.jinja")


def test_vllm_gets_the_key_where_nobody_reads_it(tmp_path: Path) -> None:
    """A program called vllm that says what it was given stands for the real one."""
    program = tmp_path / "vllm"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:])\nprint(os.environ['VLLM_API_KEY'])\n"
    )
    program.chmod(0o755)
    command = [sys.executable, "-m", "xtune", "serve", "bundled:tasks", "--engine", "vllm"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, "--api-key", "sesame"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    words, key = done.stdout.splitlines()
    assert key == "sesame"
    assert "sesame" not in words + done.stderr
    assert "/invocations" in done.stderr
    refused = subprocess.run([*command, "--no-base"], check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--base: not with --engine vllm" in refused.stderr


def test_vllm_that_is_not_there_is_said_with_the_command(tiny_model: Path) -> None:
    with pytest.raises(XtuneError) as caught:
        api.serve_with_vllm([str(tiny_model)], host="127.0.0.1", port=8000, api_key="sesame")
    assert f"vllm serve {tiny_model}" in str(caught.value)
    assert "sesame" not in str(caught.value)
