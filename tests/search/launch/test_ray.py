"""What a worker takes of a Ray node; tests/e2e/test_ray.py has the real cluster."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from tuneoff.search.errors import UserError
from tuneoff.search.launch.ray import connected, room
from tuneoff.search.launch.ray_actor import JobSpec, Resources


@pytest.mark.parametrize("per_gpu", [1, 2, 3, 6, 7, 9, 13])
def test_workers_that_share_a_gpu_fit_on_it(per_gpu: int) -> None:
    resources = Resources.of(1, per_gpu, use_gpus=True)
    ten_thousandths = round(resources.gpus * 10_000)  # as Ray counts
    assert ten_thousandths == pytest.approx(resources.gpus * 10_000)
    assert ten_thousandths * per_gpu <= 10_000 < ten_thousandths * (per_gpu + 1)


def test_resources_without_gpus() -> None:
    assert Resources.of(2, 4, use_gpus=False) == Resources(2, 0.0)
    assert str(Resources(2, 0.0)) == "2 CPUs"
    assert str(Resources(1, 0.25)) == "1 CPU and 0.25 GPU"


def test_a_job_shows_no_password() -> None:
    storage = "postgresql://me:open-sesame@db/tuneoff"
    job = JobSpec(("digits",), storage, Path("/"), Path("/log"), Resources(1, 0.0))
    assert "open-sesame" not in repr(job)
    assert pickle.loads(pickle.dumps(job)) == job


def test_no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    needle = r'uv pip install -c constraints.txt -e "\.\[ray\]"'
    with pytest.raises(UserError, match=needle), connected("local", tmp_path):
        pass


def test_room_for_workers() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert room(nodes, Resources(1, 0.0)) == 11
    assert room(nodes, Resources(3, 0.0)) == 3
    assert room(nodes, Resources(1, 0.5)) == 4
    assert room(nodes, Resources(1, 0.1)) == 8
    assert room(nodes, Resources(9, 0.0)) == 0
