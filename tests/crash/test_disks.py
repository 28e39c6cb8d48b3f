"""The emulator on a disk that is full, and on one that can't be written to."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from tests.crash.disks import little_room, read_only
from tests.crash.warm import WarmProcess
from tests.crash.work import WORK, in_small_parts, plan, recorded, service

BASE = ObjectStorageUri.parse("s3://lake/staging")
RUN = BASE.child("run-1")


@pytest.fixture(scope="module")
def open_tree(tree: Path) -> Iterator[Path]:
    """The files where every user may read them."""
    folder = Path(tempfile.mkdtemp(prefix="dpone-files-"))
    folder.chmod(0o755)
    shutil.copytree(tree, folder / "tree")
    yield folder / "tree"
    shutil.rmtree(folder)


def client_at(root: Path) -> Any:
    return in_small_parts(LocalObjectStorageClient(root))


def check_nothing_is_half_there(root: Path, tree: Path) -> None:
    client = client_at(root)
    for item in client.list_objects(RUN):
        assert client.get_bytes(item.uri) == (tree / item.uri.key.removeprefix(RUN.prefix)).read_bytes()
    for item in client.list_objects(BASE.child("_manifests")):
        json.loads(client.get_bytes(item.uri))
    assert recorded(client, BASE) is None
    own = root / ".dpone"
    assert list(own.glob("unfinished/*")) == []
    for notes in own.glob("metadata/*/*"):
        assert "uri" in json.loads(notes.read_text())


def check_the_next_try_works(root: Path, tree: Path) -> None:
    client = client_at(root)
    manifest = service(client).stage_files(plan(BASE), tree)
    assert manifest.object_count == len(list(tree.iterdir()))
    assert recorded(client, BASE) == manifest
    evidence = [uri.key.removeprefix(BASE.prefix) for uri in client.list_prefix(BASE.child("_manifests"))]
    assert [name for name in evidence if "staged-" in name or "alive" in name] == []


@pytest.mark.parametrize(("room", "key"), [(10, "_manifests/run-1/_run.json"), (400 * 1024, "run-1/")])
@pytest.mark.parametrize("how", ["mounted", "limited"])
def test_a_full_disk_is_named_and_leaves_nothing_half_there(
    warm: WarmProcess, open_tree: Path, how: str, room: int, key: str
) -> None:
    with little_room(warm, how, room) as disk:
        error = disk.run("stage", str(BASE), open_tree)
        assert error is not None
        assert error["type"] == "StorageError"
        assert error["uri"].startswith(str(BASE.child(key.rstrip("/"))))
        assert error["uri"] in error["message"]
        assert "No space left on device" in error["message"] or "File too large" in error["message"]
        check_nothing_is_half_there(disk.root, open_tree)
        disk.mend()
        check_the_next_try_works(disk.root, open_tree)


@pytest.mark.parametrize("how", ["mounted", "forbidden"])
def test_a_stage_on_a_read_only_root_names_what_it_could_not_write(
    warm: WarmProcess, open_tree: Path, how: str
) -> None:
    with read_only(warm, how, lambda root: None) as disk:
        error = disk.run("stage", str(BASE), open_tree)
        assert error is not None
        assert error["ours"]
        assert error["uri"] == f"{BASE}/_manifests/run-1/_run.json"
        assert error["uri"] in error["message"]
        assert "Read-only file system" in error["message"] or "Permission denied" in error["message"]
        assert list(disk.root.rglob("*")) == []
        disk.mend()
        check_the_next_try_works(disk.root, open_tree)


@pytest.mark.parametrize("how", ["mounted", "forbidden"])
def test_a_cleanup_on_a_read_only_root_deletes_nothing_and_counts_nothing(
    warm: WarmProcess, open_tree: Path, how: str
) -> None:
    def staged(root: Path) -> None:
        service(client_at(root)).stage_files(plan(BASE), open_tree)

    with read_only(warm, how, staged) as disk:
        before = list(client_at(disk.root).list_objects(BASE))
        error = disk.run("cleanup", str(BASE), open_tree)
        assert error is not None
        assert error["ours"]
        assert error["uri"] == f"{BASE}/_manifests/run-1/_run/deleting.json"
        assert "Read-only file system" in error["message"] or "Permission denied" in error["message"]
        assert list(client_at(disk.root).list_objects(BASE)) == before
        disk.mend()
        WORK["cleanup"](client_at(disk.root), str(BASE), "")
        assert client_at(disk.root).list_prefix(RUN) == []
