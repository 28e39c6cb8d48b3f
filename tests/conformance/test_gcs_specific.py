"""What is GCS's own: options that its SDK itself refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import StorageError
from tests.conformance.stores import BUCKET, Store, environment


@pytest.fixture
def store(started: Callable[[str], Store]) -> Store:
    # fake-gcs-server drops the storage class of a resumable upload.
    return started("gcp-storage-emulator")


def test_an_acl_that_does_not_exist_is_named(store: Store, base: ObjectStorageUri) -> None:
    client = store.client(storage_options={"predefined_acl": "everybody"})
    with pytest.raises(StorageError, match="everybody|ACL"):
        client.put_bytes(b"x", base.child("object"))


def test_storage_class_goes_with_the_object(store: Store, base: ObjectStorageUri, tmp_path: Path, file: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    (tmp_path / "small").write_bytes(b"small")
    client = store.client(storage_options={"storage_class": "NEARLINE"})
    with environment(store.environment):
        gcs = storage.Client(project="p", credentials=AnonymousCredentials())
    for path in (tmp_path / "small", file):
        put = client.put_file(path, base.child(path.name))
        assert gcs.bucket(BUCKET).get_blob(put.uri.key).storage_class == "NEARLINE"
