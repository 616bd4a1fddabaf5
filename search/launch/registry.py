"""The launchers by name: what ``tuneoff launch --on`` offers."""

from __future__ import annotations

from tuneoff.registry import Entry, Registry

LAUNCHERS = Registry(
    "launcher",
    {
        "here": Entry("tuneoff.search.launch.local:LAUNCHER", "this machine"),
        "ray": Entry("tuneoff.search.launch.ray:LAUNCHER", "a Ray cluster"),
        "slurm": Entry("tuneoff.search.launch.slurm:LAUNCHER", "a Slurm cluster"),
    },
)
