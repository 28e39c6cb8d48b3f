"""A mapped stage of 200 instances with 50 files each, one of them without its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from tests.dags.conftest import BASE, RunDag

DOCS = Path(__file__).parent.parent.parent / "docs" / "cleanup.md"
INSTANCES, FILES_EACH, MISSING = 200, 50, 117
FILE_BYTES = 9

BODY = """
@task
def export():
    return [f"{{FILES}}/part-{{number:03d}}" for number in range({instances})]

stage = ObjectStorageStageOperator.partial(
    task_id="stage", base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
    conn_id="emulator", cleanup_policy={policy!r},
).expand(files=export())

@task(task_id="load")
def load_all(manifests):
    return sum(manifest["object_count"] for manifest in manifests)

load_all(stage.output) >> StagingCleanupOperator(task_id="cleanup", manifest=stage.output)
"""

STAGED = (INSTANCES - 1) * FILES_EACH
# Each policy: the states of load and cleanup, how many objects are deleted, how many are left.
EXPECTED = {
    "delete_on_success": ("upstream_failed", "upstream_failed", 0, STAGED),
    "delete_always": ("upstream_failed", "success", STAGED, 0),
}


@pytest.fixture
def many_files(files: Path) -> None:
    """Fill the files' folder: all instances' files but those of one."""
    for number in range(INSTANCES):
        folder = files / f"part-{number:03d}"
        if number != MISSING:
            folder.mkdir()
            for name in range(FILES_EACH):
                (folder / f"{name:02d}.csv").write_text(f"id\n{number:03d}{name:02d}\n"[:FILE_BYTES])


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("policy", sorted(EXPECTED))
def test_200_instances_of_50_files_and_one_of_them_fails(
    run: RunDag,
    emulator: LocalObjectStorageClient,
    staged: Callable[[], list[str]],
    records: Callable[[], dict[str, dict[str, Any]]],
    policy: str,
) -> None:
    result = run(BODY.format(instances=INSTANCES, policy=policy))
    load, cleanup, deleted, left = EXPECTED[policy]

    assert result.state == "failed"
    assert Counter(result.tasks[f"stage[{index}]"] for index in range(INSTANCES)) == {"success": 199, "failed": 1}
    assert result.tasks[f"stage[{MISSING}]"] == "failed"
    assert (result.tasks["load"], result.tasks["cleanup"]) == (load, cleanup)

    manifests = [result.xcoms[f"stage[{index}]"] for index in range(INSTANCES) if index != MISSING]
    assert len({manifest["run_id"] for manifest in manifests}) == 1
    assert {manifest["object_count"] for manifest in manifests} == {FILES_EACH}

    found = records()
    parts = [f"map-{index:05d}" for index in range(INSTANCES) if index != MISSING]
    assert sorted(name for name in found if name.endswith("/manifest.json")) == [f"{p}/manifest.json" for p in parts]
    assert {name for name in found if "/" not in name} == {"_run.json", *(f"{part}.json" for part in parts)}
    assert not any(name.startswith(f"map-{MISSING:05d}") for name in found), "it ended before its claim"
    assert {found[f"{part}/manifest.json"]["sent"] for part in parts} == {FILES_EACH}

    names = staged()
    assert len(names) == left
    if left:
        assert Counter(name.partition("/")[0] for name in names) == dict.fromkeys(parts, FILES_EACH)
        assert "_run/cleanup.json" not in found
    else:
        assert result.xcoms["cleanup"]["deleted_objects"] == deleted
        assert result.xcoms["cleanup"]["deleted_bytes"] == STAGED * FILE_BYTES
        assert found["_run/cleanup.json"]["deleted_objects"] == deleted
        run_prefix = ObjectStorageUri.parse(f"{BASE}/{manifests[0]['run_id']}")
        assert emulator.list_prefix(run_prefix) == []


def test_the_table_in_the_docs_is_what_was_seen() -> None:
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("|")
    ]
    header = next(row for row in rows if row[0] == "200 instances, one fails")
    start = rows.index(header)
    table = {row[0]: dict(zip(header, row, strict=True)) for row in rows[start + 2 : start + 2 + len(EXPECTED)]}
    assert set(table) == set(EXPECTED)
    for policy, (load, cleanup, deleted, left) in EXPECTED.items():
        row = table[policy]
        assert (row["load"], row["cleanup"]) == (load, cleanup)
        assert (row["objects deleted"], row["objects left"]) == (f"{deleted:,}", f"{left:,}")
        assert (row["stage"], row["manifests"]) == ("199 success, 1 failed", "199")
