"""For tests of code that plugs into tuneoff: fakes of its parts, and what each real part must do.

* ``CurveTrainer`` trains nothing, but leaves real checkpoints; ``FakeClock`` is time that only
  moves when told to; ``MemoryStore`` is an artifact store in memory.
* ``TrainerConformance``, ``PolicyConformance``, ``StoreConformance``, ``LauncherConformance``:
  test classes. Subclass one in your own tests, say how to make your part, and pytest runs what
  tuneoff's own parts must pass, too::

      from tuneoff.testing import StoreConformance

      class TestMyStore(StoreConformance):
          def make_store(self, tmp_path):
              return MyStore(tmp_path)
"""

from tuneoff.testing.clock import FakeClock
from tuneoff.testing.curve_trainer import CurveTrainer, curve_error
from tuneoff.testing.launchers import LauncherConformance
from tuneoff.testing.policies import PolicyConformance, simulate
from tuneoff.testing.stores import MemoryStore, StoreConformance
from tuneoff.testing.trainers import TrainerConformance

__all__ = [
    "CurveTrainer",
    "FakeClock",
    "LauncherConformance",
    "MemoryStore",
    "PolicyConformance",
    "StoreConformance",
    "TrainerConformance",
    "curve_error",
    "simulate",
]
