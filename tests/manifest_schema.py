"""The JSON Schema of the manifest, ready to compare with: what a test has staged must be as it says."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from dpone_airflow.staging import manifest_schema

_VALIDATOR = Draft202012Validator(manifest_schema())


def is_as_the_schema_says(value: Any) -> bool:
    """Return whether a value is a manifest or a pointer, as far as the schema can tell."""
    return _VALIDATOR.is_valid(value)


def assert_as_the_schema_says(value: Any) -> None:
    """Fail with what is wrong."""
    problem = best_match(_VALIDATOR.iter_errors(value))
    assert problem is None, f"{problem.json_path}: {problem.message}"
