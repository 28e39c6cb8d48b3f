"""Whatever an XCom or a template gives for a manifest: one that holds together, or our error."""

from __future__ import annotations

import json
from typing import Any

from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.staging.resolve import ManifestPointer, manifests_in, resolve_manifest
from dpone_airflow.storage import ObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import DponeAirflowError, InvalidInputError
from tests.fuzz.choices import Choices, written
from tests.fuzz.fuzzed import fuzzed, told
from tests.fuzz.samples import BASE, RECORD_URI, manifest, pointer

MANIFESTS = (manifest(), manifest("map-00003"))
POINTER = pointer()


def check_manifest(found: ObjectStorageStagingManifest) -> None:
    """Nothing outside of its prefix, nothing twice, and it is written as it was read."""
    assert found.object_count == len(found.objects)
    assert found.total_size_bytes == sum(item.size_bytes for item in found.objects)
    uris = [item.uri for item in found.objects]
    assert len(set(uris)) == len(uris)
    for item in found.objects:
        assert item.uri == f"{found.prefix}/{item.file_name}"
        assert ".." not in ObjectStorageUri.parse(item.uri).key.split("/")
        assert item.size_bytes >= 0
    assert ObjectStorageStagingManifest.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@fuzzed(lambda choices: choices.changed_json(choices.of(MANIFESTS), 4))
def test_any_value_is_a_manifest_that_holds_together_or_is_refused(value: Any) -> None:
    try:
        found = ObjectStorageStagingManifest.from_dict(value)
    except InvalidInputError as error:
        told(error)
        return
    check_manifest(found)
    assert found.to_dict() == value


@fuzzed(lambda choices: choices.changed_json(POINTER, 3))
def test_any_value_is_a_pointer_to_its_own_record_or_is_refused(value: Any) -> None:
    try:
        found = ManifestPointer.from_dict(value)
    except InvalidInputError as error:
        told(error)
        return
    assert found.manifest_uri.startswith(f"{found.base_uri}/_manifests/{found.run_id}/")
    assert ManifestPointer.from_dict(json.loads(json.dumps(found.to_dict()))) == found


class NoStore:
    """Gives no client: what is read from a store has its own test."""

    def get_client(self, base_uri: str) -> ObjectStorageClient:
        raise InvalidInputError(f"{base_uri} isn't read here")


def _given(choices: Choices) -> Any:
    kind = choices.number(6)
    if kind == 0:
        return choices.value(3)
    values = [choices.changed_json(choices.of((*MANIFESTS, POINTER)), 1) for _ in range(1 + choices.number(2))]
    value: Any = values if choices.number(2) else values[0]
    if kind == 1:
        return value
    text = written(value, repr if kind == 2 else json.dumps)
    if kind == 5:
        text = choices.of((RECORD_URI, BASE, json.dumps(text), text * 2))
    return choices.changed_text(text, 3)


@fuzzed(_given)
def test_whatever_a_task_is_given_holds_manifests_or_is_refused(value: Any) -> None:
    try:
        for found in manifests_in(value):
            if isinstance(found, ObjectStorageStagingManifest):
                check_manifest(found)
        check_manifest(resolve_manifest(value, NoStore()))
    except DponeAirflowError as error:
        told(error)
