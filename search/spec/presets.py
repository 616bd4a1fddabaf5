"""Presets: ``preset = "NAME"`` in a section that has fields of a recipe, written out.

A preset holds fields of two sections. Its recipe goes into the section that names the preset. What
it says of the images, their ``image_size``, goes into [data], and only from the trial's preset: all
runs of a study see the same images. A value that the file gives itself beats that of a preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tuneoff.registry import check_name
from tuneoff.trainer.presets import PRESETS
from tuneoff.trainer.recipe import DataSource

PRESET = "preset"  # the key, in each section that has fields of a recipe

_OF_IMAGES = frozenset(field.name for field in fields(DataSource))


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """A study file's values with every preset replaced by the fields that it stands for.

    What has another form than a study file's is left as it is, for pydantic to complain of.

    Raises:
        ValueError: there is no such preset; the message says where it is named.
    """
    found = dict(values)
    if "trial" in found:
        found["trial"], images = _expanded(found["trial"], "trial")
        data = found.get("data", {})
        if images and isinstance(data, Mapping):
            found["data"] = {**images, **data}
    for section in ("promote", "horizon"):
        if section in found:
            found[section], _ = _expanded(found[section], section)
    ensemble = found.get("ensemble")
    if isinstance(ensemble, Mapping) and isinstance(ensemble.get("members"), list):
        members = [
            _expanded(member, f"ensemble.members.{i}")[0]
            for i, member in enumerate(ensemble["members"])
        ]
        found["ensemble"] = {**ensemble, "members": members}
    return found


def _expanded(section: Any, where: str) -> tuple[Any, dict[str, Any]]:
    """A section with its preset's recipe in place of the name, and the preset's part of [data]."""
    if not isinstance(section, Mapping) or PRESET not in section:
        return section, {}
    try:
        preset = PRESETS[check_name("preset", str(section[PRESET]), PRESETS)]
    except ValueError as error:
        raise ValueError(f"{where}.{PRESET}: {error}") from None
    recipe = {name: value for name, value in preset.items() if name not in _OF_IMAGES}
    images = {name: value for name, value in preset.items() if name in _OF_IMAGES}
    given = {name: value for name, value in section.items() if name != PRESET}
    return {**recipe, **given}, images
