"""Models fetched from a hub: a real server on loopback, the real client, and everything that may go wrong between."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub, Repository, hub_on_loopback

from xtune.demo.bundled import bundled_path
from xtune.errors import ModelError
from xtune.models.source import fetch, read_config
from xtune.recipe.models import Model

DEMO = Model(name="someone/demo")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub with the bundled demo model, and the client of this process pointed at it."""
    with hub_on_loopback() as running:
        running.repositories["someone/demo"] = Repository(
            revisions={"main": bundled_path("bundled:demo")}
        )
        point_at(running.address, monkeypatch, tmp_path)
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address on loopback that is taken, so that no other process may listen there, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def point_at(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What HF_ENDPOINT and HF_HOME do when they are set before Python starts."""
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_config_is_fetched_alone(hub: Hub) -> None:
    assert read_config(DEMO)["model_type"] == "qwen3"
    files = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert files == {"config.json"}


@pytest.mark.usefixtures("hub")
def test_the_tokenizer_comes_without_the_weights_and_the_weights_when_asked() -> None:
    small = names(fetch(DEMO, weights=False))
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= small
    assert "model.safetensors" not in small
    folder = fetch(DEMO, weights=True)
    original = bundled_path("bundled:demo") / "model.safetensors"
    assert (folder / "model.safetensors").read_bytes() == original.read_bytes()


def test_what_lies_in_folders_of_a_repository_and_pickled_weights_stay_there(
    hub: Hub, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "onnx").mkdir(parents=True)
    (source / "config.json").write_text('{"model_type": "llama"}')
    (source / "onnx" / "config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (source / "modeling_own.py").write_text("raise SystemExit\n")
    hub.repositories["someone/mixed"] = Repository(revisions={"main": source})
    assert names(fetch(Model(name="someone/mixed"), weights=True)) == {"config.json"}


def test_every_shard_that_the_index_names_is_fetched_and_no_other(hub: Hub, tmp_path: Path) -> None:
    from factories import make_model

    source = tmp_path / "source"
    model = make_model()
    model.save_pretrained(source, max_shard_size="100KB")
    shutil.copy(source / "config.json", source / "unrelated.safetensors")
    hub.repositories["someone/shards"] = Repository(revisions={"main": source})
    found = names(fetch(Model(name="someone/shards"), weights=True))
    shards = {path.name for path in source.glob("model-*.safetensors")}
    assert len(shards) > 2
    assert shards <= found
    assert "unrelated.safetensors" not in found


def test_a_revision_is_a_tag_a_branch_or_a_commit(hub: Hub, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    (older / "config.json").write_text('{"model_type": "llama"}')
    repository = hub.repositories["someone/demo"]
    repository.revisions["v1"] = older
    assert read_config(DEMO)["model_type"] == "qwen3"
    assert read_config(Model(name="someone/demo", revision="v1"))["model_type"] == "llama"
    commit = repository.commit("v1")
    assert read_config(Model(name="someone/demo", revision=commit))["model_type"] == "llama"
    with pytest.raises(ModelError, match="has no revision v2"):
        read_config(Model(name="someone/demo", revision="v2"))


def test_a_gated_model_names_the_page_and_the_login(hub: Hub) -> None:
    hub.repositories["someone/gated"] = Repository(
        revisions={"main": bundled_path("bundled:demo")}, gated=True, token="hf_right"
    )
    with pytest.raises(ModelError, match="gated") as caught:
        read_config(Model(name="someone/gated"))
    assert "https://huggingface.co/someone/gated" in str(caught.value)
    assert "hf auth login" in str(caught.value)


def test_a_token_opens_a_private_model(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["someone/own"] = Repository(
        revisions={"main": bundled_path("bundled:demo")}, token="hf_right"
    )
    own = Model(name="someone/own")
    with pytest.raises(ModelError, match="or it is private"):
        read_config(own)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert read_config(own)["model_type"] == "qwen3"


@pytest.mark.usefixtures("hub")
def test_a_model_that_does_not_exist_is_named() -> None:
    missing = Model(name="nobody/nothing")
    with pytest.raises(ModelError, match="no model nobody/nothing on Hugging Face"):
        read_config(missing)
    with pytest.raises(ModelError, match="no model nobody/nothing on Hugging Face"):
        fetch(missing, weights=False)


def test_a_repository_without_config_is_no_model(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Nothing here.")
    hub.repositories["someone/empty"] = Repository(revisions={"main": tmp_path})
    with pytest.raises(ModelError, match=r"has no config\.json"):
        read_config(Model(name="someone/empty"))


def test_a_download_that_breaks_off_goes_on_where_it_was(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000_000)
    monkeypatch.setattr("time.sleep", list[float]().append)
    hub.cut_after_bytes["model.safetensors"] = 3_000_000
    folder = fetch(DEMO, weights=True)
    original = bundled_path("bundled:demo") / "model.safetensors"
    assert (folder / "model.safetensors").read_bytes() == original.read_bytes()
    parts = [line for line in hub.asked if "bytes=" in line and "model.safetensors" in line]
    assert len(parts) == 1
    assert parts[0].endswith("bytes=3000000-")


@pytest.mark.usefixtures("hub")
def test_what_is_in_the_cache_needs_no_hub(
    nobody: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched = fetch(DEMO, weights=True)
    point_at(nobody, monkeypatch, tmp_path)
    assert read_config(DEMO)["model_type"] == "qwen3"
    assert fetch(DEMO, weights=True) == fetched


@pytest.mark.usefixtures("hub")
def test_a_cache_that_lacks_the_weights_is_not_taken_for_whole(
    nobody: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetch(DEMO, weights=False)
    point_at(nobody, monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="cannot be reached"):
        fetch(DEMO, weights=True)


def test_without_a_network_nobody_waits_for_retries(
    nobody: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    point_at(nobody, monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="cannot be reached"):
        read_config(DEMO)
    assert not naps


def test_a_hub_in_trouble_is_asked_again_and_then_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    hub.status = 503
    with pytest.raises(ModelError, match="cannot be reached"):
        read_config(DEMO)
    assert naps


def test_xtune_trains_a_model_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    words = ["model.name=someone/demo", "model.revision=main", "train.max_steps=1"]
    words += ["data.evaluate=null", f"run.folder={tmp_path / 'run'}"]
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "xtune", "train", "quickstart", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("encoding:")]
    assert not told  # nothing of the hub's own bars and warnings
    config = (tmp_path / "run" / "adapter" / "adapter_config.json").read_text()
    assert '"base_model_name_or_path": "someone/demo"' in config
