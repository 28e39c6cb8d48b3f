"""Lifecycle rules: what is rendered is found again as what was wanted, and nothing less passes for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.lifecycle import (
    Deed,
    Found,
    Wanted,
    found_rules,
    rendered_rules,
    rule_for,
    rules_in,
    wanted_rules,
)
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

S3, GCS, AZURE = ObjectStorageProvider.S3, ObjectStorageProvider.GCS, ObjectStorageProvider.AZURE_BLOB
BASES = ["s3://landing/orders", "gs://landing/orders", "azure://account/landing/orders", "az://landing/orders/daily"]
ROOTS = ["s3://landing", "gs://landing", "az://landing"]
days = st.integers(1, 3_650)


def base(text: str) -> ObjectStorageUri:
    return ObjectStorageUri.parse(text)


def everything(uri: ObjectStorageUri, abort: int = 2, versions: int = 7, expire: int = 90) -> list[Wanted]:
    return wanted_rules(uri, abort_days=abort, version_days=versions, expire_days=expire)


@pytest.mark.parametrize("text", [*BASES, *ROOTS])
@given(days, days, days)
def test_what_is_rendered_is_found_for_its_base_and_all_below_it(
    text: str, abort: int, versions: int, expire: int
) -> None:
    uri = base(text)
    wanted = everything(uri, abort, versions, expire)
    document = json.loads(json.dumps(rendered_rules(uri, wanted)))
    found = found_rules(uri.provider, rules_in(document))
    assert len(found) == len(wanted)
    for rule in wanted:
        for place in (uri, uri.child("2026")):
            assert rule_for(place, rule, found) is not None
            assert rule_for(place, Wanted(rule.deed, None), found) is not None
        assert rule.days is not None
        assert rule_for(uri, Wanted(rule.deed, rule.days - 1), found) is None


@pytest.mark.parametrize("text", BASES)
def test_a_rule_for_one_base_is_none_for_its_neighbours(text: str) -> None:
    uri = base(text)
    found = found_rules(uri.provider, rules_in(rendered_rules(uri, everything(uri))))
    for other in (f"{text}-2", text.rpartition("/")[0], text.replace("orders", "other")):
        for rule in everything(base(other)):
            assert rule_for(base(other), rule, found) is None
    if uri.provider is AZURE:
        elsewhere = base(text.replace("landing", "container"))
        assert rule_for(elsewhere, Wanted(Deed.EXPIRE, None), found) is None


@given(st.text("abc/", max_size=6), st.text("abc/", max_size=6))
def test_a_rule_covers_what_begins_with_its_prefix_and_touches_what_overlaps(prefix: str, key: str) -> None:
    place = ObjectStorageUri(S3, "landing", key.strip("/"))
    rule = Found("x", Deed.EXPIRE, 1, (prefix,), narrowed=False)
    below = f"{place.key}/" if place.key else ""
    assert rule.covers(place) is below.startswith(prefix)
    assert rule.touches(place) is (below.startswith(prefix) or prefix.startswith(below))
    assert not Found("x", Deed.EXPIRE, 1, (prefix,), narrowed=True).covers(place)


def test_only_s3_wants_a_rule_for_unfinished_uploads() -> None:
    assert [str(rule) for rule in everything(base(BASES[0]), 1)] == [
        "abort unfinished uploads after 1 day",
        "drop older versions after 7 days",
        "delete everything after 90 days",
    ]
    for text in BASES[1:]:
        assert wanted_rules(base(text), abort_days=2) == []


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", ["abort_days", "version_days", "expire_days"])
def test_a_number_of_days_below_one_is_refused(name: str, number: int) -> None:
    with pytest.raises(InvalidOptionError, match="give 1 or more"):
        wanted_rules(base(BASES[0]), **({"abort_days": 2} | {name: number}))


# Forms of other people's rules.

ABORT = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 5}}
EXPIRE = {"Expiration": {"Days": 5}}
NONCURRENT = {"NoncurrentVersionExpiration": {"NoncurrentDays": 5}}


@pytest.mark.parametrize(
    ("rule", "deed"),
    [
        (ABORT | {"Status": "Enabled", "Filter": {"Prefix": "orders/"}}, Deed.ABORT),
        (ABORT | {"Status": "Enabled", "Filter": {"Prefix": "ord"}}, Deed.ABORT),
        (ABORT | {"Status": "Enabled", "Filter": {}}, Deed.ABORT),
        (ABORT | {"Status": "Enabled", "Prefix": ""}, Deed.ABORT),
        (ABORT | {"Status": "Enabled", "Prefix": "orders/"}, Deed.ABORT),
        (ABORT | {"Status": "Enabled", "Prefix": "others/"}, None),
        (ABORT | {"Status": "Disabled", "Filter": {"Prefix": ""}}, None),
        (ABORT | {"Status": "Enabled", "Filter": {"Prefix": "orders/2026/"}}, None),
        (EXPIRE | {"Status": "Enabled", "Filter": {"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}]}}}, None),
        (EXPIRE | {"Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 5}}, None),
        (EXPIRE | {"Status": "Enabled", "Filter": {"And": {"Prefix": "orders/"}}}, Deed.EXPIRE),
        ({"Expiration": {"Date": "2027-01-01"}, "Status": "Enabled", "Filter": {}}, None),
        ({"Expiration": {"ExpiredObjectDeleteMarker": True}, "Status": "Enabled", "Filter": {}}, None),
        (NONCURRENT | {"Status": "Enabled", "Filter": {"Prefix": ""}}, Deed.DROP_VERSIONS),
        (
            {"NoncurrentVersionExpiration": {"NoncurrentDays": 5, "NewerNoncurrentVersions": 3}, "Status": "Enabled"},
            None,
        ),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}], "Status": "Enabled", "Filter": {}}, None),
    ],
)
def test_a_rule_of_s3_counts_as_what_it_does(rule: dict[str, Any], deed: Deed | None) -> None:
    uri = base(BASES[0])
    found = found_rules(S3, [rule])
    assert {each for each in Deed if rule_for(uri, Wanted(each, 5), found)} == ({deed} if deed else set())


@pytest.mark.parametrize(
    ("action", "condition", "deed"),
    [
        ("Delete", {"age": 5}, Deed.EXPIRE),
        ("Delete", {"age": 5, "isLive": True, "matchesPrefix": ["x", "orders/"]}, Deed.EXPIRE),
        ("Delete", {"age": 5, "matchesPrefix": ["x"]}, None),
        ("Delete", {"age": 5, "isLive": False}, Deed.DROP_VERSIONS),
        ("Delete", {"numNewerVersions": 3}, None),
        ("Delete", {"age": 5, "matchesSuffix": [".tmp"]}, None),
        ("Delete", {"age": 6}, None),
        ("Delete", {"daysSinceNoncurrentTime": 5}, Deed.DROP_VERSIONS),
        ("Delete", {"daysSinceNoncurrentTime": 5, "isLive": False}, Deed.DROP_VERSIONS),
        ("Delete", {"daysSinceNoncurrentTime": 1, "age": 6}, None),
        ("Delete", {"daysSinceNoncurrentTime": 5, "numNewerVersions": 2}, None),
        ("AbortIncompleteMultipartUpload", {"age": 5}, Deed.ABORT),
        ("SetStorageClass", {"age": 5}, None),
    ],
)
def test_a_rule_of_gcs_counts_as_what_it_does(action: str, condition: dict[str, Any], deed: Deed | None) -> None:
    found = found_rules(GCS, [{"action": {"type": action}, "condition": condition}])
    uri = base(BASES[1])
    assert {each for each in Deed if rule_for(uri, Wanted(each, 5), found)} == ({deed} if deed else set())


def azure(actions: dict[str, Any], **filters: Any) -> dict[str, Any]:
    filters = {"blobTypes": ["blockBlob"], "prefixMatch": ["landing/orders"]} | filters
    return {"enabled": True, "name": "x", "type": "Lifecycle", "definition": {"filters": filters, "actions": actions}}


@pytest.mark.parametrize(
    ("rule", "deed"),
    [
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5.0}}}), Deed.EXPIRE),
        (azure({"baseBlob": {"delete": {"daysAfterCreationGreaterThan": 5}}}, prefixMatch=None), Deed.EXPIRE),
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 6}}}), None),
        (azure({"baseBlob": {"delete": None, "tierToCool": {"daysAfterModificationGreaterThan": 5}}}), None),
        (azure({"version": {"delete": {"daysAfterCreationGreaterThan": 5}}}), Deed.DROP_VERSIONS),
        (azure({"snapshot": {"delete": {"daysAfterCreationGreaterThan": 5}}}), None),
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}}}, blobTypes=["appendBlob"]), None),
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}}}, prefixMatch=["orders"]), None),
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}}}, blobIndexMatch=[{}]), None),
        (azure({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}}}) | {"enabled": False}, None),
    ],
)
def test_a_rule_of_azure_counts_as_what_it_does(rule: dict[str, Any], deed: Deed | None) -> None:
    found = found_rules(AZURE, [rule])
    uri = base("azure://account/landing/orders")
    assert {each for each in Deed if rule_for(uri, Wanted(each, 5), found)} == ({deed} if deed else set())


def test_a_rule_that_names_a_date_touches_the_base_all_the_same() -> None:
    (rule,) = found_rules(S3, [{"Status": "Enabled", "Expiration": {"Date": "2027-01-01"}, "Filter": {}}])
    assert rule.touches(base(BASES[0]))
    assert str(rule) == "rule 'number 1': delete everything"


@pytest.mark.parametrize(
    "document",
    [
        {"Rules": [{"a": 1}]},
        {"rule": [{"a": 1}]},
        {"lifecycle": {"rule": [{"a": 1}]}},
        {"lifecycle_config": {"rule": [{"a": 1}]}},
        {"policy": {"rules": [{"a": 1}]}},
        {"id": "/subscriptions/x", "policy": {"rules": [{"a": 1}]}},
        [{"a": 1}],
    ],
)
def test_every_form_that_a_cloud_prints_is_read(document: Any) -> None:
    assert rules_in(document) == [{"a": 1}]


@pytest.mark.parametrize("document", [None, 7, "x", {}, {"Rules": None}, {"Rules": ["x"]}, {"rules": {"a": 1}}])
def test_what_has_no_rules_is_refused(document: Any) -> None:
    with pytest.raises(InvalidOptionError, match="no list of rules"):
        rules_in(document)


@pytest.mark.parametrize(
    ("provider", "rule"),
    [
        (S3, {"Status": "Enabled", "AbortIncompleteMultipartUpload": {}}),
        (S3, {"Status": "Enabled", "Expiration": {"Days": "soon"}}),
        (S3, {"Status": "Enabled", "Filter": "orders", **ABORT}),
        (GCS, {"action": {"type": "Delete"}}),
        (GCS, {"action": "Delete", "condition": {}}),
        (AZURE, {"enabled": True}),
    ],
)
def test_a_rule_that_is_none_of_the_stores_is_refused_by_its_number(
    provider: ObjectStorageProvider, rule: dict[str, Any]
) -> None:
    good = rendered_rules(base({S3: BASES[0], GCS: BASES[1], AZURE: BASES[2]}[provider]), [Wanted(Deed.EXPIRE, 3)])
    with pytest.raises(InvalidOptionError, match="rule number 2 isn't of the form"):
        found_rules(provider, [*rules_in(good), rule])


@pytest.mark.parametrize("text", BASES[1:])
def test_no_rule_is_rendered_for_what_the_store_does_by_itself(text: str) -> None:
    with pytest.raises(InvalidOptionError, match="no rule to abort unfinished uploads"):
        rendered_rules(base(text), [Wanted(Deed.ABORT, 2)])


def test_a_rule_without_a_number_of_days_is_not_rendered() -> None:
    with pytest.raises(InvalidOptionError, match="no number of days"):
        rendered_rules(base(BASES[0]), [Wanted(Deed.ABORT, None)])


@pytest.mark.parametrize("condition", [{"numNewerVersions": 3}, {"noncurrentTimeBefore": "2026-01-01"}])
def test_a_rule_of_gcs_for_older_versions_alone_expires_nothing(condition: dict[str, Any]) -> None:
    (found,) = found_rules(GCS, [{"action": {"type": "Delete"}, "condition": condition}])
    assert found.deed is Deed.DROP_VERSIONS
    assert found.narrowed
