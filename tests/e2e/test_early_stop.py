"""``[budget] stop_when`` as a user writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_rule_that_is_none_is_refused_in_one_line(
    tuneoff: Any, digits: Callable[..., list[str]]
) -> None:
    refused = tuneoff("create", *digits(**{"budget.stop_when": "gain below 1"}), code=2)
    assert "budget.stop_when: 'gain below 1' is no rule to stop by; write it as" in refused.text


FILE = """
name = "early"
seed = 1
repeats = 1
[data]
name = "digits"
validation = 0.2
[trial]
model = "proxy"
epochs = 1
[space]
lr = { low = 0.1, high = 0.3, log = true }
[budget]
epochs = 30
stop_when = "gain < 20 within 1 epochs"
[arms.random]
sampler = "random"
"""


def test_a_search_ends_before_its_budget_and_says_why(
    tuneoff: Any, inside: Any, tmp_path: Path
) -> None:
    file = tmp_path / "early.toml"
    file.write_text(FILE)
    tuneoff("run", file, "--workers", "1", limit=280)
    now = json.loads("".join(inside(tuneoff, "status", "early", "--json").out))
    (arm,) = (arm for arm in now["arms"] if arm["name"] == "random")
    assert 5 <= arm["spent"] < 30
    (why,) = now["stopped"]
    assert why.startswith(f"early/random/0 stopped early after {arm['spent']} of 30 epochs")
