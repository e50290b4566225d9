"""Where a run keeps what evaluations on tasks found: the last one by itself, and one of each that was asked; it reads none."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtune.durable import write_json

LAST = "tasks.json"
"""The last evaluation, whatever was asked."""

PICTURE = "tasks.png"

EACH = "tasks"
"""Folder with one file for each thing that was asked; asked again, it is written anew."""

LONGEST_NAME = 60
"""Characters of a file's name before what makes it the only one of its kind."""


def archive(run: Path, found: Mapping[str, Any]) -> Path:
    """Write an evaluation's numbers and answers into a run's folder.

    Args:
        run: The run's folder, with the picture in it if there is one.
        found: The evaluation as JSON takes it.

    Returns:
        The file that only the same question, asked again, replaces.
    """
    write_json(run / LAST, found)
    folder = run / EACH
    folder.mkdir(exist_ok=True)
    target = folder / f"{_name(found)}.json"
    write_json(target, found)
    if (run / PICTURE).exists():
        shutil.copyfile(run / PICTURE, target.with_suffix(".png"))
    return target


def _name(found: Mapping[str, Any]) -> str:
    """What was asked, in letters that every file system takes: `xcopa.th-vi.3-shot.1f0c2a9b`."""
    parts = [
        (str(part["task"]), str(part["language"]), str(part["source"])) for part in found["tasks"]
    ]
    how = {key: found[key] for key in ("shots", "limit", "seed", "template")}
    asked = json.dumps([parts, how], ensure_ascii=True, sort_keys=True)
    names = "-".join(dict.fromkeys(task for task, _, _ in parts))
    codes = "-".join(dict.fromkeys(code for _, code, _ in parts))
    shots = f"{found['shots']}-shot" if found["shots"] else "zero-shot"
    text = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{names}.{codes}.{shots}")[:LONGEST_NAME]
    return f"{text}.{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
