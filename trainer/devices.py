"""The devices to train on: whether there is one of a name, and what it computes in."""

from __future__ import annotations

import torch

from tuneoff.trainer.errors import TrainerError


def usable(name: str) -> torch.device:
    """The device of a name (TrainerError if it cannot be used)."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TrainerError(f"device {name!r} cannot be used here; try cpu") from error
    return device


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 itself, and does not emulate it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False
