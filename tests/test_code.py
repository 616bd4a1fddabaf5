"""The code itself: style, types, layers, and what must not be in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(["mypy"], marks=pytest.mark.slow),
        ["lint-imports", "--no-cache"],
    ],
    ids=["lint", "format", "types", "layers"],
)
def test_checker_is_content(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_constraints_are_plain_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)


def test_every_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[<>=\[]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned


def test_only_one_module_uses_a_private_name_of_optuna() -> None:
    private = re.compile(r"\b(?:optuna(?:\.\w+)*\._|study\._|trial\._|storage\._)\w+")
    users = [
        path.name
        for path in (ROOT / "search").rglob("*.py")
        if private.search(path.read_text(encoding="utf-8"))
    ]
    assert users == ["trial_ids.py"]


WRITERS = {
    "tuneoff/files.py": "the helper itself",
    "tuneoff/own_run.py": "reports, a file which grows",
    "search/cli/main.py": "/dev/null",
    "search/launch/local.py": "a log, which grows",
    "search/launch/ray_actor.py": "a log, which grows",
    "trainer/data/download.py": "the part of a download, which grows until it is put in place",
    "trainer/data/features.py": "outputs of stages, in a folder that is put in place",
    "trainer/data/pack.py": "images, in a folder that is put in place",
    "trainer/own/context.py": "a state, in a folder that a checkpoint is made of",
    "trainer/own/command_run.py": "the number of the epoch that was read, for the command",
    "trainer/models/state_files.py": "only says how a state dict is saved",
    "trainer/models/sources.py": "torch's download, beside the file that it is put in place of",
    "tuneoff/testing/curve_trainer.py": "a log, which grows",
    "tuneoff/testing/trainers.py": "tests, which damage files",
}
"""What may write to files otherwise than by tuneoff.files, and why."""


PERCENT = {
    "search/cli/until.py": "of simulated courses",
    "search/launch/ray.py": "bytes",
    "search/report/comparison_tables.py": "a probability",
    "search/report/figures/importance.py": "of the importance",
    "search/report/figures/model_findings.py": "the level of an interval",
    "search/report/figures/parallel.py": "of a range",
    "search/report/figures/why_cost.py": "of the epochs",
    "search/report/side_by_side/tables.py": "a weight",
    "search/report/simulation.py": "of the variance, of the epochs",
    "search/report/tables.py": "of the intervals",
    "search/report/terms.py": "a probability",
    "search/results/numbers.py": "shares of budgets, levels",
}
"""What may show percent of something else than the study's metric, and of what."""


def test_only_the_metric_says_how_its_values_are_shown() -> None:
    showing = re.compile(r"100(?:\.0)? \*|\* 100\b|:\.\d%")
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "search").rglob("*.py")
        if showing.search(path.read_text(encoding="utf-8"))
    }
    assert users == set(PERCENT)


def test_every_durable_file_is_written_by_the_one_helper() -> None:
    """Written aside, synced and renamed: a power cut leaves the old file or the new one, whole."""
    writing = re.compile(
        r"\.write_(?:text|bytes)\(|open\([^)]*[\"'][wax+]b?\+?[\"']|\.rename\(|os\.replace\("
        r"|shutil\.(?:move|copy2?|copyfile)\(|np\.savez?\((?!file)|download_url_to_file|to_csv|write_html|O_WRONLY"
        r"|torch\.save\((?!values, body)"
    )
    users = {
        str(path.relative_to(ROOT))
        for folder in ("search", "trainer", "tuneoff")
        for path in (ROOT / folder).rglob("*.py")
        if writing.search(path.read_text(encoding="utf-8"))
    }
    assert users == set(WRITERS)
