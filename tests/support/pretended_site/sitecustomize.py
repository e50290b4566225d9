"""With this folder on PYTHONPATH every Python process has a pretended CUDA device (tests/support/pretend_cuda.py) from its start.

`pretend_cuda.environment` sets what is needed. Races that a process finds are added to a file when it ends.
"""

import atexit
import os
import sys
from pathlib import Path

RACES = os.environ.get("XTUNE_PRETENDED_RACES")

if RACES:
    sys.path.append(str(Path(__file__).parents[1]))
    import pretend_cuda
    import torch

    pretending = pretend_cuda.pretended_cuda((9, 0))
    pretending.__enter__()
    LIMIT = int(os.environ.get("XTUNE_PRETENDED_LIMIT", "0"))
    if LIMIT:
        set_fraction = torch.cuda.set_per_process_memory_fraction

        def set_limit(fraction: float, device: object = None) -> None:
            """Less than the whole device is always the same."""
            limited = LIMIT / pretend_cuda.TOTAL
            set_fraction(min(fraction, limited) if fraction < 1 else fraction, device)

        torch.cuda.set_per_process_memory_fraction = set_limit

    @atexit.register
    def end() -> None:
        """Say what was found, and be a processor again for whatever still ends."""
        found = list(pretend_cuda.watch.races)
        pretending.__exit__(None, None, None)
        if found:
            with Path(RACES).open("a", encoding="utf-8") as file:
                file.writelines(f"{each}\n" for each in found)
