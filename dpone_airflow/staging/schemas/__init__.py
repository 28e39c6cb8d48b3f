"""JSON Schemas of what this package writes, one file a form and version, for readers in any language."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what a stage returns: a manifest, or the pointer to a stored one.

    It says of a manifest what a schema can say. That counts add up and that every object lies below the run prefix,
    only ``ObjectStorageStagingManifest.from_dict`` checks.
    """
    text = files(__name__).joinpath("manifest-v1.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
