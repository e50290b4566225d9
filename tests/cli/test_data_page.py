"""What docs/data.md shows is what happens: its rows are trained on, its commands say what stands under them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_command import Command

from xtune import api_data

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(
    r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files of the page, as the current one."""
    path = tmp_path_factory.mktemp("page")
    for _, name, text in BLOCKS:
        if "." in name:
            (path / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


def blocks(kind: str) -> list[tuple[str, str]]:
    return [(name, text) for language, name, text in BLOCKS if language == kind]


@pytest.mark.parametrize(
    ("code", "text"),
    blocks("console"),
    ids=[text.split("\n")[0][8:60] for _, text in blocks("console")],
)
@pytest.mark.usefixtures("folder")
def test_a_command_of_the_page_says_what_stands_under_it(
    xtune: Command, code: str, text: str
) -> None:
    command, *expected = text.rstrip("\n").split("\n")
    ended = xtune(*shlex.split(command.removeprefix("$ xtune ")))
    lines = [" ".join(line.split()) for line in (ended.out + ended.err).splitlines()]
    assert ended.code == int(code or 0), ended.err
    for line in expected:
        wanted = " ".join(line.split())
        assert any(found.startswith(wanted) for found in lines), (wanted, lines)


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, text in blocks("jsonl") if "." not in name]
)
def test_a_row_of_the_page_is_recognised_by_its_name(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text, encoding="utf-8")
    found = api_data.data_check("bundled:demo", data=str(file))
    assert found.ready
    assert found.report is not None
    assert found.report.files[0].format == name


@pytest.mark.usefixtures("folder")
def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    ((_, text),) = blocks("python")
    exec(compile(text, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.startswith(
        "2 bundled:demo on sums.jsonl: all 2 training sequences"
    )


def test_every_verb_of_the_group_is_on_the_page() -> None:
    from xtune.cli.data import data_app

    page = PAGE.read_text(encoding="utf-8")
    for command in data_app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        assert f"xtune data {name}" in page
