"""Several adapters over one base: each answers as it does by itself, and what cannot be shared is refused."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from safetensors.torch import load_file, save_file
from serve_support import serving

from xtune import api
from xtune.demo.bundled import bundled_path
from xtune.errors import RunError, XtuneError
from xtune.serve.address import bind
from xtune.serve.models import open_models
from xtune.serve.names import name_runs

QUESTION: Any = [{"role": "user", "content": "The customer is Kubel."}]


def copied(folder: Path, scale: float) -> Path:
    """The bundled adapter with its second factors scaled; by 0 it is the base."""
    shutil.copytree(bundled_path("bundled:tasks"), folder)
    weights = load_file(folder / "adapter_model.safetensors")
    scaled = {
        name: scale * tensor if "lora_B" in name else tensor for name, tensor in weights.items()
    }
    save_file(scaled, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("adapters")
    runs = [
        "bundled:tasks",
        str(copied(folder / "none.v0", 0.0)),
        f"half={copied(folder / 'b', 0.5)}",
    ]
    found = {}
    with serving(*runs) as ready, OpenAI(base_url=ready.url, api_key="none") as client:
        for _ in range(2):
            for name in ("tasks", "none.v0", "half", "bundled:demo"):
                reply = client.chat.completions.create(
                    model=name, messages=QUESTION, temperature=0, max_tokens=12
                )
                answer = reply.choices[0].message.content or ""
                assert found.setdefault(name, answer) == answer
    return found


def test_adapters_answer_by_their_names(answers: dict[str, str]) -> None:
    assert answers["none.v0"] == answers["bundled:demo"]
    assert len({answers["tasks"], answers["half"], answers["bundled:demo"]}) == 3


def test_what_is_no_list_of_folders_or_no_port_is_told(tiny_model: Path) -> None:
    with pytest.raises(RunError, match="nothing to serve"):
        name_runs([])
    assert [one.name for one in name_runs(f"tiny={tiny_model}")] == ["tiny"]
    with pytest.raises(XtuneError, match="The port is 99999; it must be a number from 0"):
        bind("127.0.0.1", 99999)


def test_a_server_in_a_thread_is_stopped_and_gives_its_port_back(tiny_model: Path) -> None:
    server = api.serve(f"tiny={tiny_model}", address=("127.0.0.1", 0))
    port = server.listener.getsockname()[1]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.run)
        with OpenAI(base_url=server.url, api_key="none") as client:
            assert client.models.list().data[0].id == "tiny"
        server.stop()
        assert running.result() is True
    bind("127.0.0.1", port).close()


def test_what_cannot_share_a_base_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="are not both adapters"):
        open_models(name_runs(["bundled:tasks", f"tiny={tiny_model}"]))
    other = copied(tmp_path / "other", 1.0)
    config = json.loads((other / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tiny_model)
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="not trained on the same base"):
        open_models(name_runs(["bundled:tasks", str(other)]))
    with pytest.raises(RunError, match="The base is called bundled:demo"):
        open_models(name_runs(["bundled:demo=" + str(copied(tmp_path / "more", 1.0))]))
