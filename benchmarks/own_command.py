"""What a command of one's own costs more under tuneoff than bare: per epoch, and per trial.

python benchmarks/own_command.py --epochs 100
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from overhead import arguments, medians, seconds

from tuneoff import own_run, references
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.own.command import CommandTrainer
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

SCRIPT = """
import sys, time
from pathlib import Path
from tuneoff import folder, report, resume_epoch
own, state = sys.argv[1] == "report", bytes(100_000)
for epoch in range(resume_epoch() + 1, int(sys.argv[2]) + 1):
    time.sleep(0.02)  # the training
    (folder() / "state").write_bytes(state)
    if own:
        report(epoch, 0.5, test=0.5)
"""


def main() -> None:
    """Print the medians."""
    epochs, rounds = arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text(SCRIPT)
        compare(script, epochs, rounds)


def compare(script: Path, epochs: int, rounds: int) -> None:
    """Print the medians of a script that is run bare and under tuneoff, in turns."""
    command = f"{sys.executable} -P {script} report {{epochs}}"
    references.allow([references.name_of_command(command)])

    def bare(epochs: int) -> float:
        words = [sys.executable, "-P", str(script), "bare", str(epochs)]
        with tempfile.TemporaryDirectory() as folder:
            place = {own_run.FOLDER: folder}
            return seconds(lambda: subprocess.run(words, env=place, check=True))

    def ours(epochs: int) -> float:
        recipe = OwnTraining(epochs, command=command)
        with tempfile.TemporaryDirectory() as folder:
            run = CommandTrainer().train(
                recipe, HyperParams(), RunSeed(), Path(folder), lambda: False
            )
            return seconds(lambda: list(run))

    middle = medians(bare, ours, epochs, rounds, ones=3)
    one = 1e3 * (middle["bare"] - middle["bare one"]) / (epochs - 1)
    under = 1e3 * (middle["ours"] - middle["ours one"]) / (epochs - 1)
    trial = 1e3 * (middle["ours one"] - middle["bare one"])
    print(f"bare: {one:.1f} ms an epoch")
    print(f"with checkpoint and report: {under - one:.1f} ms more an epoch")
    print(f"a trial of one epoch: {trial:.1f} ms more than {1e3 * middle['bare one']:.1f}")


if __name__ == "__main__":
    main()
