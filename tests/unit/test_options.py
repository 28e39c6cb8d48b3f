"""Storage options come from an allow-list for each provider."""

from __future__ import annotations

import pytest

from dpone_airflow.storage import ObjectStorageProvider
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.options import ALLOWED_OPTIONS, checked_options

EXAMPLES = {
    ObjectStorageProvider.S3: {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key", "RequestPayer": "requester"},
    ObjectStorageProvider.GCS: {"kms_key_name": "key", "user_project": "billing"},
    ObjectStorageProvider.AZURE_BLOB: {"encryption_scope": "scope", "tags": {"team": "sales"}},
}


@pytest.mark.parametrize("provider", list(ObjectStorageProvider))
def test_what_is_on_the_list_is_taken_as_it_is(provider: ObjectStorageProvider) -> None:
    assert checked_options(provider, EXAMPLES[provider]) == EXAMPLES[provider]


@pytest.mark.parametrize("provider", list(ObjectStorageProvider))
@pytest.mark.parametrize("options", [None, {}])
def test_no_options_are_fine(provider: ObjectStorageProvider, options: dict[str, str] | None) -> None:
    assert checked_options(provider, options) == {}


def test_the_options_are_copied() -> None:
    given = dict(EXAMPLES[ObjectStorageProvider.S3])
    checked_options(ObjectStorageProvider.S3, given).clear()
    assert given == EXAMPLES[ObjectStorageProvider.S3]


@pytest.mark.parametrize("provider", list(ObjectStorageProvider))
def test_what_is_not_on_the_list_is_named_with_what_is(provider: ObjectStorageProvider) -> None:
    with pytest.raises(InvalidOptionError, match="'SSECustomerKey', 'endpoint_url'") as refused:
        checked_options(provider, {"endpoint_url": "http://x", "SSECustomerKey": "key"})
    assert all(name in str(refused.value) for name in ALLOWED_OPTIONS[provider])
    assert f"for {provider}:" in str(refused.value)


@pytest.mark.parametrize("provider", list(ObjectStorageProvider))
def test_another_providers_option_is_refused(provider: ObjectStorageProvider) -> None:
    for other, options in EXAMPLES.items():
        if other is not provider:
            with pytest.raises(InvalidOptionError):
                checked_options(provider, options)


@pytest.mark.parametrize("options", ["ACL", ["ACL"], 7])
def test_what_is_no_mapping_is_refused(options: object) -> None:
    with pytest.raises(InvalidOptionError, match="storage_options"):
        checked_options(ObjectStorageProvider.S3, options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("provider", "options", "said"),
    [
        (ObjectStorageProvider.S3, {"BucketKeyEnabled": "yes"}, "'BucketKeyEnabled' is str: it takes true or false"),
        (ObjectStorageProvider.S3, {"ACL": True}, "'ACL' is bool: it takes text"),
        (ObjectStorageProvider.S3, {"SSEKMSKeyId": None}, "'SSEKMSKeyId' is NoneType: it takes text"),
        (ObjectStorageProvider.S3, {"StorageClass": " "}, "'StorageClass' is str: it takes text"),
        (ObjectStorageProvider.GCS, {"user_project": 7}, "'user_project' is int: it takes text"),
        (ObjectStorageProvider.AZURE_BLOB, {"tags": "team=sales"}, "'tags' is str: it takes a dict of texts"),
        (ObjectStorageProvider.AZURE_BLOB, {"tags": {"team": 7}}, "'tags' is dict: it takes a dict of texts"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(
    provider: ObjectStorageProvider, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        checked_options(provider, options)
    assert said in str(refused.value)


def test_a_switch_is_true_or_false() -> None:
    assert checked_options(ObjectStorageProvider.S3, {"BucketKeyEnabled": True}) == {"BucketKeyEnabled": True}
