"""``runs``, ``show``, ``verify`` and ``cleanup``: what they print, how they end, what they leave in the store."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.cli.commands import COMMANDS
from dpone_airflow.cli.main import main, run_command
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.staging.resolve import ManifestPointer, manifest_uri_of
from dpone_airflow.staging.runs import RunState
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.deletes import delete_incomplete
from dpone_airflow.storage.errors import StorageError

pytestmark = pytest.mark.usefixtures("emulator_connection")
BASE = "s3://lake/staging"
RECORD = f"{BASE}/_manifests/run-1/_run/manifest.json"
MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]
Stored = Callable[..., list[str]]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def staged(service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile) -> ObjectStorageStagingManifest:
    write("a.csv")
    return service.stage_files(make_plan(), str(write("b.csv", b"1234").parent))


def stage_parts(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, count: int
) -> list[ObjectStorageStagingManifest]:
    file = str(write("a.csv"))
    return [
        ObjectStorageStagingService(client=client, writer=StagingWriter(task_id="stage", map_index=index)).stage_files(
            make_plan(part=f"map-0000{index}"), file
        )
        for index in range(count)
    ]


def put_manifest_record(client: LocalObjectStorageClient, run_id: str, age: timedelta, **header: Any) -> None:
    """A manifest's record as one of that age is."""
    at = (datetime.now(UTC) - age).isoformat()
    record = {
        "version": 1,
        "at": at,
        "kind": "manifest",
        "manifest": {"object_count": 2, "total_size_bytes": 2048} | header,
    }
    client.put_bytes(json.dumps(record).encode(), StagingEvidence(client, BASE, run_id).manifest_uri)


def contents(client: LocalObjectStorageClient, uris: Iterable[str]) -> dict[str, bytes]:
    return {uri: client.get_bytes(ObjectStorageUri.parse(uri)) for uri in uris}


# runs


def test_runs_are_a_table_with_state_age_size_and_who(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    put_manifest_record(client, "an-old-run", timedelta(days=12), cleanup_policy="retain")
    code, out, _ = call("runs", BASE)
    assert (code, out) == (
        0,
        (
            "RUN ID      STATE        AGE  FILES     SIZE     LEFT  POLICY             STAGED BY\n"
            "run-1       staged  just now      2     18 B     18 B  delete_on_success  daily / stage\n"
            "an-old-run  staged   12 days      2  2.0 KiB  2.0 KiB  retain             -\n"
            "\n"
            "2 runs, 2.0 KiB staged, 2.0 KiB left\n"
        ),
    )


def test_runs_are_chosen_by_state_and_age(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, writer: StagingWriter, call: Call
) -> None:
    put_manifest_record(client, "old", timedelta(days=12))
    put_manifest_record(client, "older", timedelta(days=40))
    StagingEvidence(client, BASE, "older").write_cleanup({"outcome": "deleted"})

    def chosen(*arguments: str) -> list[str]:
        code, out, _ = call("runs", BASE, "--json", *arguments)
        assert code == 0
        told = json.loads(out)
        assert told["totals"]["runs"] == len(told["runs"])
        return [run["run_id"] for run in told["runs"]]

    assert chosen() == ["run-1", "old", "older"]
    assert chosen("--older-than", "11d") == ["old", "older"]
    assert chosen("--older-than", "12d1h") == ["older"]
    assert chosen("--state", "staged") == ["run-1", "old"]
    assert chosen("--state", "cleaned", "--state", "failed") == ["older"]
    assert chosen("--state", "staged", "--older-than", "20d") == []
    assert "2 runs of 3, " in call("runs", BASE, "--state", "staged")[1]


def test_a_run_of_an_unknown_age_is_older_than_nothing(client: LocalObjectStorageClient, call: Call) -> None:
    broken = StagingEvidence(client, BASE, "run-2").manifest_uri
    client.put_bytes(b"no json", broken)
    code, out, _ = call("runs", BASE)
    assert code == 0
    assert "run-2   unreadable    -      -" in out
    assert f"unreadable: {broken} isn't a record of a manifest" in out
    assert json.loads(call("runs", BASE, "--json", "--older-than", "1s")[1])["runs"] == []


def test_an_empty_base_is_said_to_be_empty(call: Call) -> None:
    assert call("runs", BASE)[:2] == (0, f"There are no records below {BASE}/_manifests/.\n")


def test_every_state_that_a_run_can_have_is_named_in_the_help_of_runs() -> None:
    (state,) = [argument for argument in COMMANDS["runs"].arguments if argument.name == "state"]
    for name in RunState:
        assert name in state.options["help"]


def test_records_can_not_steer_the_terminal(client: LocalObjectStorageClient, call: Call) -> None:
    hostile = "\x1b]0;title\x07\x1b[2J\u202e"
    put_manifest_record(client, "run-1", timedelta(0), cleanup_policy=hostile)
    code, out, _ = call("runs", BASE)
    assert code == 0
    assert "\\u001b]0;title" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


# show


def test_a_stored_manifest_is_shown_with_its_objects(staged: ObjectStorageStagingManifest, call: Call) -> None:
    first, second = staged.objects
    code, out, _ = call("show", RECORD)
    assert (code, out) == (
        0,
        (
            f"prefix       {BASE}/run-1/\n"
            "run id       run-1\n"
            "dataset      sales\n"
            "table        orders\n"
            "format       csv\n"
            "compression  none\n"
            "policy       delete_on_success\n"
            "size         2 objects, 18 B\n"
            "\n"
            "BYTES  SHA-256                                                           OBJECT\n"
            f"   14  {first.sha256}  a.csv\n"
            f"    4  {second.sha256}  b.csv\n"
        ),
    )


def test_a_manifest_comes_from_a_uri_a_file_or_stdin_whatever_form_it_has(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
) -> None:
    record = client.get_bytes(ObjectStorageUri.parse(RECORD))
    pointer = ManifestPointer.to(staged, RECORD, sha256(record).hexdigest())
    file = tmp_path / "manifest.json"
    for content in (
        record,
        json.dumps(staged.to_dict()).encode(),
        json.dumps([staged.to_dict()]).encode(),
        json.dumps(pointer.to_dict()).encode(),
        json.dumps(RECORD).encode(),
    ):
        file.write_bytes(content)
        monkeypatch.setattr("sys.stdin", io.StringIO(content.decode()))
        for name in (file, "-"):
            code, out, error = call("show", name, "--json")
            assert (code, error) == (0, "")
            assert json.loads(out) == staged.to_dict()
    assert json.loads(call("show", RECORD, "--json")[1]) == staged.to_dict()


def test_the_manifests_of_parts_are_shown_as_one(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, call: Call
) -> None:
    parts = stage_parts(client, make_plan, write, 3)
    uris = [str(manifest_uri_of(part)) for part in parts]
    merged = json.loads(call("show", *uris, "--json")[1])
    assert merged == ObjectStorageStagingManifest.merge(parts).to_dict()
    assert "part         map-00001\n" in call("show", uris[1])[1]


def test_of_many_objects_the_first_are_shown_and_all_of_them_if_asked_for(
    client: LocalObjectStorageClient, make_plan: MakePlan, call: Call
) -> None:
    objects = [
        ObjectStorageStagingObject(f"{BASE}/run-1/{number:04d}.csv", f"{number:04d}.csv", number, f"{number:064x}")
        for number in range(1_200)
    ]
    StagingEvidence(client, BASE, "run-1").write_manifest(ObjectStorageStagingManifest.of(make_plan(), objects))
    _, out, _ = call("show", RECORD)
    assert out.endswith("0049.csv\n... and 1,150 more; --all shows them.\n")
    _, out, _ = call("show", RECORD, "--all")
    assert out.count(".csv\n") == 1_200
    assert len(json.loads(call("show", RECORD, "--json")[1])["objects"]) == 1_200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no json", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"kind": "claim", "version": 1, "manifest": {}}', "is a record of kind 'claim'"),
        ('{"kind": "manifest", "version": 9, "manifest": {}}', "of evidence version 9"),
        ('{"kind": "manifest"}', "is no record of a staged manifest"),
        ('{"run_id": "x"}', "The manifest has no provider"),
        ("7", "The manifest is int"),
        ("[]", "There is no manifest to merge"),
    ],
)
def test_what_is_no_manifest_is_one_line(content: str, says: str, tmp_path: Path, call: Call) -> None:
    (tmp_path / "given").write_text(content)
    for command in ("show", "verify"):
        code, out, error = call(command, tmp_path / "given")
        assert (code, out) == (1, "")
        assert error.startswith(f"dpone-airflow {command}: ")
        assert says in error


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    (tmp_path / "given").write_bytes(b'{"\xff": 1}')
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"\xff": 1}'), encoding="utf-8"))
    for name, where in ((tmp_path / "given", tmp_path / "given"), ("-", "stdin")):
        code, out, error = call("show", name)
        assert (code, out) == (1, "")
        assert error.startswith(f"dpone-airflow show: {where} is no JSON (UnicodeDecodeError)")


def test_a_file_that_is_not_there_and_an_object_that_is_no_manifest_are_one_line(
    staged: ObjectStorageStagingManifest, call: Call
) -> None:
    assert "No such file" in call("show", "nowhere.json")[2]
    assert "is no record of a staged manifest" in call("show", staged.objects[0].uri)[2]
    assert call("show", f"{BASE}/_manifests/run-7/_run/manifest.json")[0] == 1


# verify


def test_a_verify_that_finds_nothing_says_so_and_records_who_looked(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    code, out, _ = call("verify", RECORD, "--mode", "sha256")
    assert (code, out) == (
        0,
        f"{BASE}/run-1/ holds what the manifest says: 2 objects, 18 B, compared by every byte read back (18 B).\n",
    )
    record = json.loads(client.get_bytes(StagingEvidence(client, BASE, "run-1").verify_uri))
    assert (record["outcome"], record["mode"]) == ("verified", "sha256")
    by = record["by"]
    assert by["command"] == "dpone-airflow verify"
    assert by["user"]
    assert by["host"]
    assert {"python", "dpone-airflow", "apache-airflow"} <= set(by["versions"])
    assert (by["dag_id"], by["task_id"], by["try_number"]) == ("", "", None)


def test_every_difference_is_named_and_the_exit_code_is_1(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    first, second = (ObjectStorageUri.parse(item.uri) for item in staged.objects)
    client.delete_objects([first])
    client.put_bytes(b"12345", second)
    client.put_bytes(b"?", ObjectStorageUri.parse(f"{BASE}/run-1/stranger.csv"))
    code, out, error = call("verify", RECORD)
    assert (code, error) == (1, "")
    assert out.splitlines() == [
        (
            f"{BASE}/run-1/ doesn't hold what the manifest says: 1 missing, 1 extra, 1 changed; 2 objects, 18 B, "
            "compared by one listing."
        ),
        "",
        "FOUND    OBJECT                                WHAT IS DIFFERENT",
        f"missing  {BASE}/run-1/a.csv",
        f"extra    {BASE}/run-1/stranger.csv",
        f"changed  {BASE}/run-1/b.csv         has 5 bytes, not 4",
        "",
        "Load nothing of it: find what writes or deletes there, and stage the run again.",
    ]
    record = json.loads(client.get_bytes(StagingEvidence(client, BASE, "run-1").verify_uri))
    assert record["outcome"] == "different"
    code, out, _ = call("verify", RECORD, "--json")
    told = json.loads(out)
    assert (code, told["outcome"], len(told["missing"])) == (1, "different", 1)


def test_only_sha256_finds_other_bytes_of_the_same_size_where_the_manifest_has_no_etag(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, tmp_path: Path, call: Call
) -> None:
    client.put_bytes(b"4321", ObjectStorageUri.parse(staged.objects[1].uri))
    fields = staged.to_dict()
    for item in fields["objects"]:
        del item["etag"]
    (tmp_path / "manifest.json").write_text(json.dumps(fields))
    assert call("verify", tmp_path / "manifest.json")[0] == 0
    code, out, _ = call("verify", tmp_path / "manifest.json", "--mode", "sha256")
    assert code == 1
    assert f"not {staged.objects[1].sha256}" in out


def test_no_record_writes_nothing(staged: ObjectStorageStagingManifest, stored: Stored, call: Call) -> None:
    before = stored()
    assert call("verify", RECORD, "--no-record")[0] == 0
    assert stored() == before


def test_a_verify_of_a_run_that_nobody_has_claimed_is_refused_and_leaves_no_record(
    staged: ObjectStorageStagingManifest, stored: Stored, tmp_path: Path, call: Call
) -> None:
    given = tmp_path / "manifest.json"
    given.write_text(json.dumps(staged.to_dict()).replace("run-1", "run-7"))
    before = stored()
    code, out, error = call("verify", given)
    assert (code, out) == (1, "")
    assert f"No stage has claimed {BASE}/run-7/ (there is no {BASE}/_manifests/run-7/_run.json), so nothing" in error
    assert stored() == before
    code, out, _ = call("verify", given, "--no-record")
    assert (code, "2 missing" in out) == (1, True)
    assert stored() == before


def test_what_is_missing_after_a_cleanup_is_said_to_be(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert "The evidence has a cleanup of 20" in call("verify", RECORD, "--no-record")[1]


def test_a_part_that_is_not_given_is_extra(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, call: Call
) -> None:
    uris = [str(manifest_uri_of(part)) for part in stage_parts(client, make_plan, write, 2)]
    assert call("verify", *uris)[0] == 0
    # One part alone is compared with its own prefix.
    assert call("verify", uris[0])[0] == 0
    assert StagingEvidence(client, BASE, "run-1", "map-00000").verify_uri in client.list_prefix(
        ObjectStorageUri.parse(f"{BASE}/_manifests")
    )


def test_what_was_found_is_printed_even_if_it_can_not_be_recorded(
    staged: ObjectStorageStagingManifest, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> None:
        raise StorageError("The store takes no more records.")

    monkeypatch.setattr(StagingEvidence, "write_verify", refuses)
    code, out, error = call("verify", RECORD)
    assert code == 1
    assert "holds what the manifest says" in out
    assert error == "dpone-airflow verify: The store takes no more records."


# cleanup


def test_without_yes_a_cleanup_only_says_what_would_go_and_the_line_that_does_it(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, stored: Stored, call: Call
) -> None:
    before = contents(client, stored())
    code, out, _ = call("cleanup", BASE, "run-1", "--max-objects", "2")
    assert code == 0
    *_, line = out.splitlines()
    assert out == (
        f"prefix  {BASE}/run-1/\n"
        "policy  delete_on_success\n"
        "state   staged\n"
        "age     just now\n"
        "\n"
        "BYTES  OBJECT\n"
        f"   14  {BASE}/run-1/a.csv\n"
        f"    4  {BASE}/run-1/b.csv\n"
        "\n"
        f"Would delete 2 objects, 18 B, below {BASE}/run-1/\n"
        "Nothing was deleted. To do it:\n"
        f"dpone-airflow cleanup {BASE} run-1 --max-objects 2 --conn-id emulator --yes\n"
    )
    assert contents(client, stored()) == before

    assert main(shlex.split(line)[1:]) == 0
    assert stored() == sorted({*before} - {item.uri for item in staged.objects} | {_cleanup_record(client)})


def _cleanup_record(client: LocalObjectStorageClient, part: str | None = None) -> str:
    return str(StagingEvidence(client, BASE, "run-1", part).cleanup_uri)


def test_with_yes_it_deletes_just_that_run_and_records_who_did_it(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    staged: ObjectStorageStagingManifest,
    write: WriteFile,
    stored: Stored,
    call: Call,
) -> None:
    neighbour = service.stage_files(make_plan(run_id="run-10"), str(write("a.csv")))
    code, out, _ = call("cleanup", BASE, "run-1", "--yes")
    assert (code, out) == (0, f"Deleted 2 objects, 18 B, below {BASE}/run-1/\n")
    assert [uri for uri in stored() if "_manifests" not in uri] == [item.uri for item in neighbour.objects]
    record = json.loads(client.get_bytes(ObjectStorageUri.parse(_cleanup_record(client))))
    assert (record["outcome"], record["deleted_objects"], record["cleanup_policy"]) == (
        "deleted",
        2,
        "delete_on_success",
    )
    assert record["by"]["command"] == "dpone-airflow cleanup"
    assert call("cleanup", BASE, "run-1", "--yes")[:2] == (0, f"Deleted 0 objects, 0 B, below {BASE}/run-1/\n")


def test_json_says_the_same_of_a_dry_run_and_of_the_real_one_but_for_the_flag(
    staged: ObjectStorageStagingManifest, call: Call
) -> None:
    dry = json.loads(call("cleanup", BASE, "run-1", "--json")[1])
    real = json.loads(call("cleanup", BASE, "run-1", "--json", "--yes")[1])
    assert (dry.pop("dry_run"), real.pop("dry_run")) == (True, False)
    assert dry == real
    assert [item["uri"] for item in real["objects"]] == [item.uri for item in staged.objects]


@pytest.mark.parametrize("limit", ["--max-objects=1", "--max-bytes=17"])
@pytest.mark.parametrize("yes", [[], ["--yes"]], ids=["dry run", "yes"])
def test_more_than_the_limits_allow_is_refused_before_the_first_delete(
    staged: ObjectStorageStagingManifest, stored: Stored, call: Call, limit: str, yes: list[str]
) -> None:
    before = stored()
    code, out, error = call("cleanup", BASE, "run-1", limit, *yes)
    assert (code, out) == (1, "")
    assert "holds 2 objects of 18 bytes" in error
    assert stored() == before


@pytest.mark.parametrize("yes", [[], ["--yes"]], ids=["dry run", "yes"])
@pytest.mark.parametrize(
    ("claimed_as", "staged_as"), [("retain", "retain"), ("retain", "delete_always"), ("delete_always", "retain")]
)
def test_a_run_that_is_to_be_kept_is_refused_unless_it_is_included(
    client: LocalObjectStorageClient,
    writer: StagingWriter,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    stored: Stored,
    call: Call,
    yes: list[str],
    claimed_as: str,
    staged_as: str,
) -> None:
    """A DAG whose policy was changed between two tries has claimed by one and staged by the other."""
    claim_run(client, make_plan(cleanup_policy=claimed_as), writer)
    service.stage_files(make_plan(cleanup_policy=staged_as), str(write("a.csv")))
    before = stored()
    code, out, error = call("cleanup", BASE, "run-1", *yes)
    assert (code, out) == (1, "")
    assert "was staged with cleanup_policy 'retain'" in error
    assert "--include-retained" in error
    assert stored() == before
    assert call("cleanup", BASE, "run-1", "--include-retained", *yes)[0] == 0
    assert (f"{BASE}/run-1/a.csv" in stored()) is not bool(yes)
    if yes:
        record = json.loads(client.get_bytes(ObjectStorageUri.parse(_cleanup_record(client))))
        assert record["cleanup_policy"] == claimed_as


@pytest.mark.parametrize("change", [{"version": 99}, None], ids=["of a later version", "broken"])
def test_a_run_whose_manifest_can_not_be_read_may_be_one_to_keep(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    stored: Stored,
    call: Call,
    change: dict[str, Any] | None,
) -> None:
    record = ObjectStorageUri.parse(RECORD)
    content = b"no json" if change is None else json.dumps(json.loads(client.get_bytes(record)) | change).encode()
    client.put_bytes(content, record)
    before = stored()
    code, out, error = call("cleanup", BASE, "run-1", "--yes")
    assert (code, out) == (1, "")
    assert f"{RECORD} is" in error
    assert f"It may say that {BASE}/run-1/ is to be kept, so nothing was deleted" in error
    assert stored() == before
    assert call("cleanup", BASE, "run-1", "--include-retained", "--yes")[0] == 0
    assert f"{BASE}/run-1/a.csv" not in stored()


def test_the_unreadable_manifest_of_another_part_keeps_just_that_part_and_the_whole(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, call: Call
) -> None:
    stage_parts(client, make_plan, write, 2)
    client.put_bytes(b"no json", StagingEvidence(client, BASE, "run-1", "map-00000").manifest_uri)
    assert call("cleanup", BASE, "run-1", "--yes")[0] == 1
    assert call("cleanup", BASE, "run-1", "--part", "map-00000", "--yes")[0] == 1
    assert call("cleanup", BASE, "run-1", "--part", "map-00001", "--yes")[0] == 0


@pytest.mark.parametrize("given", [[], ["--include-retained"]])
def test_under_a_claim_of_a_later_version_nothing_is_deleted(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    stored: Stored,
    call: Call,
    given: list[str],
) -> None:
    claim_uri = StagingEvidence(client, BASE, "run-1").claim_uri
    client.put_bytes(json.dumps(json.loads(client.get_bytes(claim_uri)) | {"version": 99}).encode(), claim_uri)
    before = stored()
    code, out, error = call("cleanup", BASE, "run-1", "--yes", *given)
    assert (code, out) == (1, "")
    assert "it is of version 99, and this dpone-airflow reads up to 1: upgrade it" in error
    assert stored() == before


def test_a_verify_record_that_can_not_be_read_keeps_nothing(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    client.put_bytes(b"no json", StagingEvidence(client, BASE, "run-1").verify_uri)
    assert call("cleanup", BASE, "run-1", "--yes")[0] == 0


def test_one_part_can_go_alone(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, stored: Stored, call: Call
) -> None:
    stage_parts(client, make_plan, write, 3)
    code, out, _ = call("cleanup", BASE, "run-1", "--part", "map-00001", "--yes")
    assert (code, out) == (0, f"Deleted 1 object, 14 B, below {BASE}/run-1/map-00001/\n")
    assert [uri for uri in stored() if "_manifests" not in uri] == [
        f"{BASE}/run-1/map-00000/a.csv",
        f"{BASE}/run-1/map-00002/a.csv",
    ]
    assert _cleanup_record(client, "map-00001") in stored()


def test_the_policy_of_another_part_keeps_just_that_part_and_the_whole(
    client: LocalObjectStorageClient, make_plan: MakePlan, write: WriteFile, call: Call
) -> None:
    for index, policy in enumerate(("retain", "delete_always")):
        ObjectStorageStagingService(client=client, writer=StagingWriter(task_id="s", map_index=index)).stage_files(
            make_plan(part=f"map-0000{index}", cleanup_policy=policy), str(write("a.csv"))
        )
    assert call("cleanup", BASE, "run-1", "--yes")[0] == 1
    assert call("cleanup", BASE, "run-1", "--part", "map-00000", "--yes")[0] == 1
    assert call("cleanup", BASE, "run-1", "--part", "map-00001", "--yes")[0] == 0


def test_a_run_may_be_named_as_the_dag_names_it(
    service: ObjectStorageStagingService, make_plan: MakePlan, write: WriteFile, call: Call
) -> None:
    from dpone_airflow.staging.run_id import safe_run_id

    given = "manual__2026-11-22T08:00:00+00:00"
    service.stage_files(make_plan(run_id=safe_run_id(given)), str(write("a.csv")))
    code, out, _ = call("cleanup", BASE, given)
    assert code == 0
    assert f"{BASE}/{safe_run_id(given)}/a.csv" in out


@pytest.mark.parametrize(
    ("arguments", "says", "ends_with"),
    [
        (["run-7"], "No stage has claimed", 1),
        ([""], "run_id '' can't be used", 2),
        ([".."], "run_id '..' can't be used", 2),
        (["run-1", "--part", "map-00007"], "No stage has claimed", 1),
        (["run-1", "--part", "../x"], "part '../x' can't be used", 2),
    ],
)
def test_what_nobody_has_claimed_is_never_deleted(
    staged: ObjectStorageStagingManifest, stored: Stored, call: Call, arguments: list[str], says: str, ends_with: int
) -> None:
    before = stored()
    code, out, error = call("cleanup", BASE, *arguments, "--yes")
    assert (code, out) == (ends_with, "")
    assert says in error
    assert stored() == before


def test_a_run_that_is_being_staged_is_said_to_be(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, call: Call
) -> None:
    claim_run(client, make_plan(), writer)
    code, out, _ = call("cleanup", BASE, "run-1")
    assert code == 0
    assert "state   being_staged\n" in out
    assert "look first that its stage isn't at work" in out
    assert f"Would delete 0 objects, 0 B, below {BASE}/run-1/\n" in out


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_what_is_left_is_named_before_the_error(
    staged: ObjectStorageStagingManifest, call: Call, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    kept = staged.objects[0].uri

    def refuses(self: LocalObjectStorageClient, uris: Iterable[ObjectStorageUri]) -> None:
        raise delete_incomplete({kept: "AccessDenied: held, password=verysecret"})

    monkeypatch.setattr(LocalObjectStorageClient, "delete_objects", refuses)
    code, out, error = call("cleanup", BASE, "run-1", "--yes", *(["--json"] if as_json else []))
    assert code == 1
    assert error.startswith(f"dpone-airflow cleanup: 1 objects could not be deleted: {kept} (AccessDenied")
    if as_json:
        assert json.loads(out) == {"outcome": "incomplete", "left": {kept: "AccessDenied: held, password=***"}}
    else:
        assert out.splitlines()[1] == f"{kept}  AccessDenied: held, password=***"


# all of them


def test_the_line_to_repeat_is_of_the_program_that_was_called(
    staged: ObjectStorageStagingManifest, capsys: pytest.CaptureFixture[str], client: LocalObjectStorageClient
) -> None:
    from dpone_airflow.cli.main import build_parser

    args = build_parser().parse_args(["cleanup", BASE, "run-1", "--conn-id", "emulator"])
    assert run_command(COMMANDS["cleanup"], args, "airflow dpone") == 0
    assert f"\nairflow dpone cleanup {BASE} run-1 --conn-id emulator --yes\n" in capsys.readouterr().out
    args.yes = True
    assert run_command(COMMANDS["cleanup"], args, "airflow dpone") == 0
    record = json.loads(client.get_bytes(ObjectStorageUri.parse(_cleanup_record(client))))
    assert record["by"]["command"] == "airflow dpone cleanup"


EVERY = {
    "report": ["report", BASE, "--json"],
    "runs": ["runs", BASE],
    "show": ["show", RECORD],
    "verify": ["verify", RECORD],
    "cleanup": ["cleanup", BASE, "run-1"],
    "sweep": ["sweep", BASE, "--older-than", "30d"],
}


@pytest.mark.parametrize("command", EVERY)
def test_every_command_takes_storage_options_and_refuses_those_that_no_store_knows(
    staged: ObjectStorageStagingManifest, call: Call, command: str
) -> None:
    assert call(*EVERY[command], "--storage-options", '{"RequestPayer": "requester"}')[0] == 0
    for wrong, says in (
        ("{", "--storage-options takes a JSON object"),
        ("[1]", "--storage-options takes a JSON object"),
        ('{"aws_secret_access_key": "verysecret"}', "storage_options 'aws_secret_access_key' can't be given"),
    ):
        code, out, error = call(*EVERY[command], "--storage-options", wrong)
        assert (code, out) == (2, "")
        assert error.startswith(f"dpone-airflow {command}: ")
        assert says in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", BASE, "--state", "gone"],
        ["runs", BASE, "--older-than", "soon"],
        ["runs", "notauri"],
        ["runs", f"{BASE}/_manifests"],
        ["show", "s3:///no-bucket"],
        ["verify", "ftp://lake/manifest.json"],
        ["cleanup", "notauri", "run-1"],
        ["cleanup", BASE, "run-1", "--part", "a/b"],
        ["sweep", "notauri", "--older-than", "30d"],
        ["cleanup", BASE, "run-1", "--max-objects", "-1"],
        ["sweep", BASE, "--older-than", "1m"],
        ["sweep", BASE, "--older-than", "999999d"],
        ["sweep", BASE, "--older-than", "30d", "--overdue-after", "x"],
        ["sweep", BASE, "--older-than", "30d", "--max-runs", "-1"],
    ],
)
def test_a_value_that_can_not_be_meant_is_bad_usage(arguments: list[str], call: Call) -> None:
    code, out, error = call(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith(f"dpone-airflow {arguments[0]}: ")


def test_a_record_that_holds_what_can_not_be_read_is_no_bad_usage(
    client: LocalObjectStorageClient, staged: ObjectStorageStagingManifest, call: Call
) -> None:
    record = ObjectStorageUri.parse(RECORD)
    content = json.loads(client.get_bytes(record))
    content["manifest"]["base_uri"] = "notauri"
    client.put_bytes(json.dumps(content).encode(), record)
    for command in ("show", "verify"):
        assert call(command, RECORD)[:2] == (1, "")


@pytest.mark.parametrize("command", EVERY)
def test_ctrl_c_ends_with_130(
    staged: ObjectStorageStagingManifest, call: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalObjectStorageClient, "list_objects", interrupted)
    monkeypatch.setattr(LocalObjectStorageClient, "get_bytes", interrupted)
    assert call(*EVERY[command]) == (130, "", "")


@pytest.mark.parametrize("command", EVERY)
def test_the_page_names_every_option_of_every_command_and_the_example_is_parsed(command: str) -> None:
    from dpone_airflow.cli.main import build_parser

    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    assert section, f"docs/command-line.md has no section {command}"
    everywhere = page.partition("\n## ")[0]
    for argument in COMMANDS[command].arguments:
        assert f"`{argument.flags[-1]}" in section + everywhere or f"`{argument.options['metavar']}" in section, (
            f"docs/command-line.md doesn't name {argument.flags[-1]} of {command}"
        )
    parsed = build_parser().parse_args([command, *shlex.split(COMMANDS[command].example)])
    assert parsed.command == command


def test_the_account_that_has_no_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from dpone_airflow.cli.person import person_at_work

    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    by = person_at_work(argparse.Namespace(program="dpone-airflow", command="cleanup"))
    assert by["user"] == "54321"


def test_the_deployment_is_told_where_one_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    from dpone_airflow.cli.person import person_at_work

    monkeypatch.setenv("AIRFLOW__DPONE__DEPLOYMENT", "north")
    assert person_at_work(argparse.Namespace(program="x", command="y"))["deployment"] == "north"


@pytest.mark.parametrize("command", ["runs", "show", "verify"])
def test_a_setting_that_the_official_hook_cannot_use_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    connection = {"conn_type": "aws", "extra": {"profile_name": "misspelt", "region_name": "eu-west-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", json.dumps(connection))
    named = EVERY[command][1]
    assert main([command, named, "--conn-id", "misspelt"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"dpone-airflow {command}: The connection makes no client for {named} (ProfileNotFound: ")
    assert "misspelt" in last
