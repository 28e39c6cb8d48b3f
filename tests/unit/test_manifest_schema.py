"""The published JSON Schema and ``from_dict`` agree on what a manifest is, but for what no schema can say."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dpone_airflow.staging import (
    ObjectStorageStagingManifest,
    ObjectStorageStagingPlan,
    manifest_schema,
    manifest_uri_of,
)
from dpone_airflow.staging.manifest import SCHEMA_VERSION
from dpone_airflow.staging.resolve import ManifestPointer
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import InvalidManifestError
from local_servers.programs import node
from tests.manifest_schema import assert_as_the_schema_says, is_as_the_schema_says
from tests.unit.old_runs import BASE, DAY, Runs
from tests.unit.test_manifest import an_object, corrupted, manifests, places

CONTRACT = Path(__file__).parents[2] / "docs" / "contract.md"
FORMS = manifest_schema()["$defs"]

# What only from_dict can refuse: a schema doesn't calculate, doesn't compare one value with another, counts
# characters and not bytes, and knows no difference between 1 and 1.0.
NO_SCHEMA_CAN_SAY = {
    "object_count is as many as there are objects": r"object_count is \d+ and objects has",
    "total_size_bytes is the sum of their sizes": r"total_size_bytes is \d+ and the objects add up",
    "an object lies at its name below the run prefix": r"objects\[\d+\]\.uri is .* and a file .* lies at",
    "no two objects are at one place": r"objects\[\d+\]\.uri .* is there twice",
    "a key has 1,024 bytes at most": r"has \d+ bytes, and stores take 1024 at most",
    "a text is valid Unicode": r"isn't valid Unicode|give a text that says what is staged",
    "a number is written without a point": r"is float '\d+\.0': it takes a whole number|whole numbers from 0",
    "a pointer leads to the record of its own run": r"manifest_uri is .*, and the record of this run lies at",
}


def a_manifest(part: str | None = None) -> ObjectStorageStagingManifest:
    plan = ObjectStorageStagingPlan("s3://lake/staging", "run-1", "shop", "orders", "csv", part=part)
    return ObjectStorageStagingManifest.of(
        plan, [an_object(plan, "a.csv", content_type="text/csv", etag="abc"), an_object(plan, "dt=1/b.csv", 0)]
    )


def pointer_to(manifest: ObjectStorageStagingManifest) -> dict[str, Any]:
    return ManifestPointer.to(manifest, str(manifest_uri_of(manifest)), "0" * 64).to_dict()


def refusal(data: Any) -> str | None:
    """Return why our own reader refuses what it is given, or None."""
    reader = ManifestPointer if isinstance(data, dict) and "manifest_uri" in data else ObjectStorageStagingManifest
    try:
        reader.from_dict(data)
    except InvalidManifestError as error:
        return str(error)
    return None


def test_the_schema_is_one_of_draft_2020_12_and_needs_nothing_else() -> None:
    schema = manifest_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:dpone-airflow:schema:manifest:{SCHEMA_VERSION}"
    assert {ref for key, ref in _pairs(schema) if key == "$ref"} == {f"#/$defs/{name}" for name in FORMS}


def test_each_caller_gets_a_schema_of_its_own() -> None:
    manifest_schema().clear()
    assert manifest_schema()


@pytest.mark.parametrize("form", ["manifest", "pointer", "object"])
def test_every_key_is_described_and_sizes_say_their_unit(form: str) -> None:
    for key, value in FORMS[form]["properties"].items():
        assert value["description"].endswith("."), key
        assert ("bytes" in value["description"]) == (key in {"size_bytes", "total_size_bytes"} or "sha256" in key)


@given(manifests())
def test_whatever_a_stage_can_write_is_as_the_schema_says(manifest: ObjectStorageStagingManifest) -> None:
    assert_as_the_schema_says(json.loads(json.dumps(manifest.to_dict())))
    assert_as_the_schema_says(json.loads(json.dumps(pointer_to(manifest))))


def test_parts_and_what_is_merged_of_them_are_as_the_schema_says() -> None:
    parts = [a_manifest("map-00000"), a_manifest("map-00001")]
    for manifest in (*parts, ObjectStorageStagingManifest.merge(parts)):
        assert_as_the_schema_says(manifest.to_dict())


def test_what_old_runs_have_stored_is_as_the_schema_says(client: LocalObjectStorageClient) -> None:
    runs = Runs(client)
    runs.stage("old", 30 * DAY)
    runs.stage("cleaned", cleaned=True)
    runs.stage("in-parts", part="map-00000")
    runs.stage("in-parts", part="map-00001")
    stored = [uri for uri in client.list_prefix(ObjectStorageUri.parse(BASE)) if uri.key.endswith("/manifest.json")]
    assert len(stored) == 4
    for uri in stored:
        assert_as_the_schema_says(json.loads(client.get_bytes(uri))["manifest"])


# --- what is wrong ------------------------------------------------------------------------------------------------

NO_TEXTS = [None, True, 1, 1.0, 1.5, -1, 2, 2**63, [], {}]
NO_NAMES = ["", " ", "\x1c", "\u3000", "..", "a/../b", "a//b", "/a", "a/", "_a", ".a", "a.", "a b", "a\n", "a?", "a\\b"]
NO_KEYS = ["_manifests", "a/_manifests/b", "\ud800", "x" * 100, "x" * 101, "x" * 200, "x" * 201, "ü" * 600, "ü"]
NO_URIS = [
    "s3://",
    "s3://lake/",
    "S3://lake",
    "gs://lake\n",
    "gs://lake/a/_manifests",
    "azure://lake",
    "s3://-lake",
    "x@y",
]
URIS = [
    "s3://lake",
    "gs://lake",
    "az://$root/x",
    "azure://a-b/$web",
    "s3://lake/staging/_manifests/run-1/_run/manifest.json",
]
WORDS = ["aws", "gcs", "retain", "0" * 64, "0" * 64 + "\n", "A" * 64]
WRONG = (
    st.sampled_from([*NO_TEXTS, *NO_NAMES, *NO_KEYS, *NO_URIS, *URIS, *WORDS])
    | st.text(max_size=4)
    | st.integers(-3, 3)
)
KEYS = ["objects", "part", "schema_version", "manifest_uri", "manifest_sha256", "size_bytes", "etag", "surprise"]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A manifest or a pointer of which one or two things were changed."""
    manifest = draw(manifests())
    data = copy.deepcopy(pointer_to(manifest) if draw(st.booleans()) else manifest.to_dict())
    for _ in range(draw(st.integers(1, 2))):
        way = draw(st.sampled_from([place for _, place in places(data)]))
        holder: Any = data
        for step in way[:-1]:
            holder = holder[step]
        change = draw(st.sampled_from(["drop", "replace", "replace", "add"]))
        if change == "drop":
            del holder[way[-1]]
        elif change == "replace":
            holder[way[-1]] = draw(WRONG)
        else:
            holder[draw(st.sampled_from(KEYS))] = draw(WRONG)
    return data


def compare(data: Any) -> None:
    """Fail if one of both takes what the other refuses, but for what no schema can say."""
    why = refusal(data)
    if is_as_the_schema_says(data):
        assert why is None or any(re.search(said, why) for said in NO_SCHEMA_CAN_SAY.values()), (why, data)
    else:
        assert why is not None, f"from_dict takes what the schema refuses: {data}"


@pytest.mark.parametrize("form", ["with objects", "without objects", "pointer"])
def test_from_dict_and_the_schema_refuse_the_same_values_for_each_key(form: str) -> None:
    empty = replace(a_manifest("map-00003"), object_count=0, total_size_bytes=0, objects=())
    whole = {
        "with objects": a_manifest("map-00003").to_dict(),
        "without objects": empty.to_dict(),
        "pointer": pointer_to(a_manifest("map-00003")),
    }[form]
    for place in [place for _, place in places(whole)] + [(key,) for key in KEYS]:
        for value in [*NO_TEXTS, *NO_NAMES, *NO_KEYS, *NO_URIS, *URIS, *WORDS]:
            compare(corrupted(whole, place, value))
        if place[-1] in whole:
            compare(corrupted(whole, place, ...))


@settings(max_examples=400)
@given(damaged())
def test_what_from_dict_refuses_the_schema_refuses_too_where_one_can(data: Any) -> None:
    compare(data)


@pytest.mark.parametrize("what", NO_SCHEMA_CAN_SAY)
def test_what_no_schema_can_say_is_refused_by_from_dict_alone(what: str) -> None:
    data = a_manifest().to_dict()
    first = data["objects"][0]
    if what.startswith("object_count"):
        data["object_count"] = 3
    elif what.startswith("total_size_bytes"):
        data["total_size_bytes"] = 8
    elif what.startswith("an object lies"):
        first["uri"] = "s3://lake/staging/run-10/a.csv"
    elif what.startswith("no two"):
        data["objects"][1] = first | {"size_bytes": 0}
    elif what.startswith("a key"):
        first["file_name"] = "ü" * 600
    elif what.startswith("a text"):
        data["table"] = "\ud800"
    elif what.startswith("a number"):
        first["size_bytes"] = 7.0
    else:
        data = pointer_to(a_manifest()) | {"manifest_uri": "s3://lake/staging/_manifests/run-2/_run/manifest.json"}
    why = refusal(data)
    assert why is not None
    assert re.search(NO_SCHEMA_CAN_SAY[what], why)
    assert_as_the_schema_says(data)


def test_blanks_are_the_same_characters_for_the_schema_and_for_from_dict() -> None:
    pattern = re.compile(FORMS["said"]["pattern"])
    refused = [character for character in map(chr, range(sys.maxunicode + 1)) if not pattern.search(character)]
    assert refused == [character for character in map(chr, range(sys.maxunicode + 1)) if not character.strip()]
    assert refusal(a_manifest().to_dict() | {"table": "".join(refused)})


def test_patterns_mean_the_same_to_javascript() -> None:
    """JSON Schema's regular expressions are those of ECMA-262; Python's differ in places."""
    patterns = sorted({pattern for key, pattern in _pairs(manifest_schema()) if key == "pattern"})
    texts = [
        "",
        "a",
        "a.",
        "-a",
        "_a",
        "a\n",
        "a\nb",
        "ü",
        "a/b",
        "a//b",
        "/a",
        "a/",
        ".",
        "a/..",
        "a?b",
        "a\\b",
        "\x7f",
    ]
    texts += ["_manifests", "a/_manifests", "s3://lake", "s3://lake\n", "gs://l/ä", "az://$root/x", "azure://a/b/c"]
    texts += ["azure://a", "s3://lake/", "s3://a/_manifests/r/_run/manifest.json", "0" * 64, "0" * 65, "\u3000", "\x85"]
    script = (
        "const [patterns, texts] = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(patterns.map(p => texts.map(t => new RegExp(p, 'u').test(t)))))"
    )
    told = run([str(node()), "-e", script], input=json.dumps([patterns, texts]), text=True, capture_output=True)
    assert told.returncode == 0, told.stderr
    in_javascript = json.loads(told.stdout)
    for pattern, answers in zip(patterns, in_javascript, strict=True):
        for text, answer in zip(texts, answers, strict=True):
            if not text.endswith("\n"):  # where they differ, see the schema's $comment
                assert (re.search(pattern, text) is not None) == answer, (pattern, text)


# --- what the contract says ---------------------------------------------------------------------------------------


def tables() -> Iterator[list[str]]:
    """Yield the first column of each table of the contract that lists keys."""
    for table in re.findall(r"^\| key \| type \| meaning \|\n\|[-|]+\n((?:\|.*\n)+)", CONTRACT.read_text(), re.M):
        yield re.findall(r"^\| `(\w+)` \|", table, re.M)


def test_the_contracts_tables_and_the_schema_have_the_same_keys_in_the_same_order() -> None:
    whole, an_entry, pointer = tables()
    assert whole == list(FORMS["manifest"]["properties"])
    assert an_entry == list(FORMS["object"]["properties"])
    assert set(FORMS["pointer"]["properties"]) == {*whole, *pointer} - {"objects"}
    assert pointer == ["manifest_uri", "manifest_sha256"]


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _pairs(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _pairs(item)
