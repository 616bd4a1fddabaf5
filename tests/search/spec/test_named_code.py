"""Which code of a user's own a study file names, wherever it does."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.references import name_of_command
from tuneoff.search.spec.named_code import named_code


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"trial": {"trainer": "mytrain:train"}}, ["mytrain:train"]),
        ({"trial": {"model": "mynet:Net", "loss": "my.l:f"}}, ["mynet:Net", "my.l:f"]),
        ({"trial": {"model": "resnet18"}, "data": {"name": "digits"}}, []),
        ({"trial": {"model": "timm:lite0"}, "promote": {"model": "torchvision:resnet18"}}, []),
        ({"data": {"name": "timm:lite0"}}, ["timm:lite0"]),
        ({"data": {"name": "mydata:load"}}, ["mydata:load"]),
        ({"space": {"model": {"choices": ["resnet18", "mynet:Net"]}}}, ["mynet:Net"]),
        ({"space": {"optimizer": ["sgd", "my:Opt"]}}, ["my:Opt"]),
        ({"ensemble": {"members": [{"model": "resnet18"}, {"model": "mynet:Big"}]}}, ["mynet:Big"]),
        ({"horizon": {"model": "mynet:Net"}, "promote": {"model": "mynet:Net"}}, ["mynet:Net"]),
        ({"arms": {"a": {"sampler": "optuna.samplers:Cma"}, "b": {"pruner": "my:P"}}}, ["my:P"]),
        ({"arms": {"a": {"sampler": "optunahub:load"}}}, ["optunahub:load"]),
        ({"arms": {"a": {"options": {"x": "optuna.pruners:P", "y": ["my:f", 1]}}}}, ["my:f"]),
        ({"arms": {"a": {"pruner_options": {"x": {"reference": "my:P"}}}}}, ["my:P"]),
        ({"trial": {"trainer": "t:f"}, "arms": {"a": {"options": {"x": "my:f"}}}}, ["t:f", "my:f"]),
        ({"trial": {"command": "python t.py"}}, [name_of_command("python t.py")]),
        # A parameter of a user's own training means what that code takes it for.
        ({"trial": {"trainer": "t:f"}, "space": {"model": ["a:b", "c:d"]}}, ["t:f"]),
        ({"trial": "no table", "arms": [], "space": None}, []),
    ],
)  # fmt: skip
def test_every_place(values: dict[str, Any], named: list[str]) -> None:
    assert named_code(values) == tuple(named)
