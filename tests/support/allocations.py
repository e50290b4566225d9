"""What torch's CPU allocator gave out, by its own record."""

from collections.abc import Callable

import torch


def profiled_peak(run: Callable[[], object]) -> int:
    """Most bytes that torch's CPU allocator had out at one time while it ran, by the profiler's record of every call."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    # torch 2.11 warns unless events are to be kept
    with torch.profiler.profile(
        activities=activities, profile_memory=True, acc_events=True
    ) as profile:
        run()
    events = profile.profiler.kineto_results.events()
    memory = sorted(
        (each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]"
    )
    living = peak = 0
    for _, change in memory:
        living += change
        peak = max(peak, living)
    return peak
