"""A run that several processes share: started by torchrun in the tests of distributed training.

Argument: JSON with cache, folder, recipe, and the tick (counted from 1) at which a rank, by number,
asks to stop or kills itself. Each rank writes what it saw to FOLDER/rank-N.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from trainer.contract import HyperParams, Recipe, RunSeed
from trainer.distributed import joined
from trainer.errors import Interrupted
from trainer.torch_trainer import TorchTrainer


def main() -> None:
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    ticks = 0

    with joined("cpu") as ranks:

        def tick() -> bool:
            nonlocal ticks
            ticks += 1
            if ticks == asked["die"].get(str(ranks.rank)):
                os.kill(os.getpid(), signal.SIGKILL)
            return bool(ticks == asked["stop"].get(str(ranks.rank)))

        trainer = TorchTrainer("cpu", cache=Path(asked["cache"]), threads=1, ranks=ranks)
        recipe = Recipe.from_dict(asked["recipe"])
        records, stopped = [], None
        try:
            for record in trainer.train(recipe, HyperParams(), RunSeed(), folder, tick):
                records.append(asdict(record))
        except Interrupted as error:
            stopped = error.epoch
    said = {"records": records, "stopped": stopped, "world": ranks.world}
    Path(folder, f"rank-{ranks.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
