"""Runs that several processes share: started by torchrun in the tests of distributed training.

Argument: JSON with the folder of decoded images, and a list of runs, each with its folder, its
recipe, and the tick (counted from 1) at which a rank, by number, asks to stop or kills itself. Each
rank writes what it saw of a run to FOLDER/rank-N.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.distributed import Ranks, joined
from tuneoff.trainer.errors import Interrupted
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer


def main() -> None:
    asked = json.loads(sys.argv[1])
    with joined("cpu") as ranks:
        trainer = TorchTrainer("cpu", cache=Path(asked["cache"]), threads=1, ranks=ranks)
        for run in asked["runs"]:
            said = train(trainer, ranks, run)
            Path(run["folder"], f"rank-{ranks.rank}.json").write_text(json.dumps(said))


def train(trainer: TorchTrainer, ranks: Ranks, run: Mapping[str, Any]) -> dict[str, Any]:
    ticks = 0

    def tick() -> bool:
        nonlocal ticks
        ticks += 1
        if ticks == run["die"].get(str(ranks.rank)):
            os.kill(os.getpid(), signal.SIGKILL)
        return bool(ticks == run["stop"].get(str(ranks.rank)))

    recipe = Recipe.from_dict(run["recipe"])
    records, stopped = [], None
    try:
        for record in trainer.train(recipe, HyperParams(), RunSeed(), Path(run["folder"]), tick):
            records.append(asdict(record))
    except Interrupted as error:
        stopped = error.epoch
    return {"records": records, "stopped": stopped, "world": ranks.world}


if __name__ == "__main__":
    main()
