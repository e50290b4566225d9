"""The search is compiled by another process, whose cache this one then reads; without one it compiles here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

SEARCHES = """
import sys
{first}
from selfinstruct.novelty import NoveltyPool
from selfinstruct.novelty import compare, lists, words
pool = NoveltyPool("en")
texts = [f"text {{n % 3000}} of {{n}} others" for n in range(6000)]
kept = sum(verdict.kept for verdict in pool.offer_many(texts))
made = [one for of in (compare, lists, words) for one in vars(of).values() if hasattr(one, "stats") and one.stats.cache_path]
print(kept, len(pool), sum(sum(one.stats.cache_misses.values()) for one in made) > 0)
"""


def search(cache: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    """What a process of its own finds and says, with an empty cache folder or one that was filled."""
    return subprocess.run(
        [sys.executable, "-c", SEARCHES.format(first=first)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip


@pytest.mark.slow  # compiles three times
def test_another_process_compiles_once_and_again_for_other_sources(tmp_path: Path) -> None:
    cold = search(tmp_path)
    assert "is compiled for this processor, once" in cold.stderr
    kept, in_pool, missed = cold.stdout.split()
    assert kept == in_pool
    assert missed == "False"
    warm = search(tmp_path)
    assert (warm.stdout, warm.stderr) == (cold.stdout, "")
    (note,) = tmp_path.rglob("selfinstruct-novelty.txt")
    note.write_text("of another version", encoding="ascii")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbc")}
    assert "is compiled" in search(tmp_path).stderr
    assert all(file.stat().st_mtime_ns > before.get(file, 0) for file in tmp_path.rglob("*.nbc"))

    # and where no process can be started, this one compiles, to the same effect
    note.write_text("of another version", encoding="ascii")
    alone = search(tmp_path, first="sys.executable = '/no/such/program'")
    assert alone.stdout.split() == [kept, in_pool, "True"]
    assert "/no/such/program" in alone.stderr
    again = search(tmp_path)
    assert (again.stdout, again.stderr) == (cold.stdout, "")  # what it compiled was kept


BROKEN = """
import os
from pathlib import Path
with Path(__file__).with_name("imported").open("a") as file:
    file.write("once\\n")
Path(__file__).with_name("environment").write_text(repr(dict(os.environ)), encoding="utf-8")
raise ImportError("no LLVM for this processor")
"""


def test_a_process_that_fails_to_compile_is_not_started_again(tmp_path: Path) -> None:
    """It imports a numba that raises; the one that starts it has imported the real one before."""
    broken, cache = tmp_path / "broken", tmp_path / "cache"
    broken.mkdir()
    (broken / "numba.py").write_text(BROKEN, encoding="utf-8")
    code = (
        "import numba, sys\n"
        f"sys.path.insert(0, {str(broken)!r})\n"
        "from selfinstruct.novelty.cache import prepare\n"
        "prepare()\n"
        "print(numba.__version__)"
    )

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "OPENAI_API_KEY": "sk-one", "OURS": "sk-two"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip

    def imported() -> int:
        return (broken / "imported").read_text(encoding="utf-8").count("once")

    first = start()
    assert "(ImportError: no LLVM for this processor), so this one does." in first.stderr
    assert imported() == 1
    environment = (broken / "environment").read_text(encoding="utf-8")
    assert str(cache) in environment
    assert "sk-" not in environment  # it needs no API key, whatever that is called
    (note,) = cache.rglob("selfinstruct-novelty.txt")
    said = note.read_text(encoding="utf-8")
    assert said.split("\n")[1] == "failed"
    assert f"numba {first.stdout.strip()}, " in said
    assert f"Python {sys.version.split()[0]}, " in said
    assert said.endswith("ImportError: no LLVM for this processor")

    assert start().stderr == ""
    assert imported() == 1
    note.write_text(said.replace(said[:8], "of older"), encoding="utf-8")
    assert "is compiled" in start().stderr
    assert imported() == 2


def test_what_is_in_the_cache_is_not_compiled_again() -> None:
    """With the cache that all tests share; the first of them may have to fill it."""
    code = SEARCHES.format(first="from selfinstruct.novelty.cache import prepare; prepare()")
    for _ in range(3):  # another process that fills it just now may be in the way
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        if done.stdout.split()[2] == "False":
            return
    pytest.fail(f"what is in the cache was compiled again: {done.stdout}{done.stderr}")


@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="the system does not say what is in memory"
)
def test_the_compilers_code_leaves_memory_once_the_search_is_loaded() -> None:
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "import llvmlite.binding as llvm\n"
        "from selfinstruct.novelty import NoveltyPool\n"
        "def resident():\n"
        "    parts = re.split(r'^(?=[0-9a-f]+-)', Path('/proc/self/smaps').read_text(), flags=re.M)\n"
        "    code = [part for part in parts if 'libllvmlite' in part and 'r-xp' in part.split('\\n')[0]]\n"
        "    return sum(int(re.search(r'Rss: +(\\d+)', part)[1]) for part in code)\n"
        "llvm.parse_assembly('define i32 @f() { ret i32 1 }')\n"
        "before = resident()\n"
        "pool = NoveltyPool('es')\n"
        "print(pool.offer('hola que tal').kept, pool.offer('hola que tal').kept, resident() < before)\n"
        "llvm.parse_assembly('define i32 @f() { ret i32 1 }')\n"
        "print(resident() > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True", "True"]
