"""What is GCS's own: options that its SDK itself refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.errors import StorageError
from tests.conformance.stores import Store


@pytest.fixture
def store(started: Callable[[str], Store]) -> Store:
    return started("fake-gcs-server")


def test_an_acl_that_does_not_exist_is_named(store: Store, base: ObjectStorageUri) -> None:
    client = store.client(storage_options={"predefined_acl": "everybody"})
    with pytest.raises(StorageError, match="everybody|ACL"):
        client.put_bytes(b"x", base.child("object"))


def test_storage_class_goes_with_the_object(store: Store, base: ObjectStorageUri) -> None:
    client = store.client(storage_options={"storage_class": "NEARLINE"})
    client.put_bytes(b"x", base.child("object"))
    assert client.get_bytes(base.child("object")) == b"x"
    assert client.delete_prefix(base) == 1
