"""Files that a generator makes are staged while it goes on, and either one's failure ends the other."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.backlog import Backlog
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageObject, ObjectStorageUri
from dpone_airflow.storage.errors import (
    AlreadyStagedError,
    DuplicateFileNameError,
    InvalidOptionError,
    NoFilesMatchedError,
    PrefixMismatchError,
    SourceFileError,
    SourceFileNotFoundError,
    StagingStoppedError,
    StorageError,
)

PLAN = ObjectStorageStagingPlan("s3://lake/orders", "run-1", "shop", "orders", "csv")
ME = StagingWriter(dag_id="orders", task_id="stage")


class Store(LocalObjectStorageClient):
    """Notes what it is sent, and waits or fails where a test says so."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(root, **options)
        self.sent: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.refuse: set[str] = set()

    def _put_small(self, target: Any, data: bytes, digest: str, only_if_absent: bool) -> str | None:
        name = target.uri.key.rpartition("/")[2]
        if "_manifests" not in target.uri.key:
            assert self.go.wait(20)
            if name in self.refuse:
                raise StorageError(f"{name} was refused.", uri=str(target.uri))
            self.sent.append(name)
        return super()._put_small(target, data, digest, only_if_absent)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", max_concurrency=2)


@pytest.fixture
def service(store: Store) -> ObjectStorageStagingService:
    return ObjectStorageStagingService(client=store, writer=ME)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    folder = tmp_path / "extract"
    folder.mkdir()

    def write(name: str, text: str | None = None) -> Path:
        path = folder / name
        path.write_text(name if text is None else text)
        return path

    return write


def staged_names(store: Store) -> list[str]:
    return sorted(uri.key.removeprefix("orders/run-1/") for uri in store.list_prefix(PLAN.prefix))


def evidence(store: Store, name: str) -> dict[str, Any]:
    uri = ObjectStorageUri.parse(f"s3://lake/orders/_manifests/run-1/_run/{name}")
    record: dict[str, Any] = json.loads(store.get_bytes(uri))
    return record


def test_files_are_staged_in_the_order_in_which_they_came(service: Any, write: Any) -> None:
    def extract() -> Iterator[Path]:
        for number in (3, 1, 2):
            yield write(f"{number}.csv", "x" * number)

    manifest = service.stage_files(PLAN, extract())
    assert [(item.file_name, item.size_bytes) for item in manifest.objects] == [
        ("3.csv", 3),
        ("1.csv", 1),
        ("2.csv", 2),
    ]


def test_what_is_yielded_may_be_a_path_a_text_a_list_a_directory_or_a_glob(service: Any, write: Any) -> None:
    write("b.csv")
    tree = write("c.csv").parent / "dt=1"
    tree.mkdir()
    (tree / "d.csv").write_text("d")

    def extract() -> Iterator[Any]:
        yield str(write("a.csv"))
        yield [write("e.csv"), write("f.csv")]
        yield tree
        yield str(tree.parent / "[bc].csv")

    names = [item.file_name for item in service.stage_files(PLAN, extract()).objects]
    assert names == ["a.csv", "e.csv", "f.csv", "d.csv", "b.csv", "c.csv"]


def test_a_file_is_uploaded_while_the_next_one_is_extracted(service: Any, store: Store, write: Any) -> None:
    def extract() -> Iterator[Path]:
        yield write("first.csv")
        until = time.monotonic() + 20
        while "first.csv" not in store.sent:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield write("second.csv")

    assert service.stage_files(PLAN, extract()).object_count == 2


@pytest.mark.parametrize(("files", "size"), [(3, 10**9), (100, 3 * 100)])
def test_an_extract_is_no_further_ahead_than_it_may_be(
    service: Any, store: Store, write: Any, files: int, size: int
) -> None:
    store.go.clear()
    yielded = []

    def extract() -> Iterator[Path]:
        for number in range(8):
            path = write(f"{number}.csv", "x" * 100)
            yielded.append(number)
            yield path

    def look() -> None:
        until = time.monotonic() + 20
        while len(yielded) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)  # for one more than there may be
        ahead.append(len(yielded))
        store.go.set()

    ahead: list[int] = []
    looking = threading.Thread(target=look)
    looking.start()
    service.stage_files(PLAN, extract(), backlog=Backlog(files, size))
    looking.join()
    assert ahead == [4]  # three wait or are under way, and the fourth has been handed over
    assert len(store.sent) == 8


def test_a_file_larger_than_all_that_may_wait_goes_alone(service: Any, write: Any) -> None:
    def extract() -> Iterator[Path]:
        for number in range(3):
            yield write(f"{number}.csv", "x" * 100)

    assert service.stage_files(PLAN, extract(), backlog=Backlog(10, 50)).object_count == 3


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-1, 1), (True, 1), (1, 1.5), ("1", 1)])
def test_a_bound_is_a_whole_number_from_1(bounds: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="give a whole number from 1"):
        Backlog(*bounds)


def test_a_failing_upload_closes_the_generator_and_is_raised(service: Any, store: Store, write: Any) -> None:
    store.refuse = {"1.csv"}
    ended: list[Any] = []

    def extract() -> Iterator[Path]:
        try:
            for number in range(1000):
                ended.append(number)
                yield write(f"{number}.csv")
                time.sleep(0.02)
        finally:
            ended.append("closed")

    with pytest.raises(StorageError, match=r"1\.csv was refused"):
        service.stage_files(PLAN, extract())
    assert ended[-1] == "closed"
    assert len(ended) < 200
    record = evidence(store, "failed.json")
    assert (record["error"], record["message"]) == ("StorageError", "1.csv was refused.")


def test_a_failing_generator_is_raised_itself_and_leaves_no_manifest(service: Any, store: Store, write: Any) -> None:
    def extract() -> Iterator[Path]:
        yield write("a.csv")
        raise ZeroDivisionError("the password is hunter2")

    with pytest.raises(ZeroDivisionError) as raised:
        service.stage_files(PLAN, extract())
    assert raised.traceback[-1].name == "extract"
    names = [
        uri.key.rpartition("/")[2] for uri in store.list_prefix(ObjectStorageUri.parse("s3://lake/orders/_manifests"))
    ]
    assert "manifest.json" not in names
    record = evidence(store, "failed.json")
    assert (record["kind"], record["error"], record["message"]) == ("failure", "ZeroDivisionError", "")
    assert "hunter2" not in json.dumps(record)


def test_a_retry_keeps_what_an_earlier_generator_has_staged(service: Any, store: Store, write: Any) -> None:
    def extract(*, fails: bool) -> Iterator[Path]:
        yield write("a.csv")
        yield write("b.csv")
        if fails:
            raise ConnectionError
        yield write("c.csv")

    with pytest.raises(ConnectionError):
        service.stage_files(PLAN, extract(fails=True))
    first, store.sent = store.sent, []
    staged = service.stage(PLAN, extract(fails=False))
    assert sorted(first + store.sent) == ["a.csv", "b.csv", "c.csv"]
    assert (staged.sent, staged.kept) == (len(store.sent), len(first))


def test_what_a_retry_no_longer_yields_goes_at_the_end(service: Any, store: Store, write: Any) -> None:
    service.stage_files(PLAN, iter([write("a.csv"), write("old.csv")]))
    service.stage_files(PLAN, iter([write("a.csv"), write("new.csv")]))
    assert staged_names(store) == ["a.csv", "new.csv"]
    with pytest.raises(PrefixMismatchError, match=r"new\.csv"):
        service.stage_files(PLAN, iter([write("a.csv")]), exact_prefix="check")


def test_fail_is_said_before_the_first_file_is_asked_for(service: Any, write: Any) -> None:
    service.stage_files(PLAN, iter([write("a.csv")]))

    def extract() -> Iterator[Path]:
        pytest.fail("was asked")
        yield

    with pytest.raises(AlreadyStagedError):
        service.stage_files(PLAN, extract(), if_exists="fail")


def test_fail_writes_nothing_and_leaves_the_try_alone_that_is_at_work(service: Any, store: Store, write: Any) -> None:
    def extract() -> Iterator[Path]:
        yield write("a.csv")
        deadline = time.monotonic() + 10
        while staged_names(store) != ["a.csv"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = sorted(map(str, store.list_prefix(ObjectStorageUri.parse(PLAN.base_uri))))
        with pytest.raises(AlreadyStagedError):
            service.stage_files(PLAN, write("c.csv"), if_exists="fail")
        assert sorted(map(str, store.list_prefix(ObjectStorageUri.parse(PLAN.base_uri)))) == before
        yield write("b.csv")

    assert service.stage_files(PLAN, extract()).object_count == 2


def test_an_error_that_quotes_a_name_of_no_language_is_told_and_recorded(
    service: Any, store: Store, tmp_path: Path
) -> None:
    missing = tmp_path / os.fsdecode(b"caf\xe9") / "x.csv"
    with pytest.raises(SourceFileNotFoundError):
        service.stage_files(PLAN, iter([missing]))
    assert os.fsdecode(b"caf\xe9") in evidence(store, "failed.json")["message"]


@pytest.mark.parametrize("items", [[], [[]]])
def test_a_generator_that_yields_nothing_is_an_error(service: Any, store: Store, items: list[Any]) -> None:
    with pytest.raises(NoFilesMatchedError, match="came to its end and gave none"):
        service.stage_files(PLAN, iter(items))
    assert evidence(store, "failed.json")["error"] == "NoFilesMatchedError"


def test_a_path_twice_is_an_error_that_names_it(service: Any, write: Any) -> None:
    path = write("a.csv")
    with pytest.raises(DuplicateFileNameError, match="a.csv"):
        service.stage_files(PLAN, iter([path, path]))


def test_a_path_that_vanished_is_an_error_that_names_it(service: Any, write: Any) -> None:
    def extract() -> Iterator[Path]:
        path = write("gone.csv")
        path.unlink()
        yield path

    with pytest.raises(SourceFileNotFoundError, match=r"gone\.csv"):
        service.stage_files(PLAN, extract())


def test_a_stop_is_no_end_of_the_files(service: Any, store: Store, write: Any) -> None:
    stop = threading.Event()

    def extract() -> Iterator[Path]:
        path = write("a.csv")
        yield path
        while path.exists():  # until all that came is staged
            time.sleep(0.01)
        time.sleep(0.2)
        stop.set()
        yield write("b.csv")
        pytest.fail("was asked for more")

    with pytest.raises(StagingStoppedError, match="run it again"):
        service.stage_files(PLAN, extract(), stop=stop, delete_local=True)
    assert "manifest.json" not in [
        uri.key.rpartition("/")[2] for uri in store.list_prefix(ObjectStorageUri.parse("s3://lake/orders/_manifests"))
    ]


def test_a_thread_that_can_not_be_started_ends_it_all(
    service: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refusing(self: threading.Thread) -> None:
        if self.name == "dpone-send-1":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        service.stage_files(PLAN, iter([write("a.csv")]))


class TestDeleteLocal:
    def test_a_file_goes_once_it_is_staged(self, service: Any, store: Store, write: Any) -> None:
        store.refuse = {"b.csv"}
        paths = [write("a.csv"), write("b.csv")]
        with pytest.raises(StorageError):
            service.stage_files(PLAN, iter(paths), delete_local=True)
        assert paths[1].exists()
        store.refuse = set()
        paths = [write("a.csv"), write("b.csv"), write("large.csv", "x" * (17 << 20))]
        service.stage_files(PLAN, iter(paths), delete_local=True)
        assert not any(path.exists() for path in paths)

    def test_what_an_earlier_try_has_staged_goes_as_well(self, service: Any, store: Store, write: Any) -> None:
        service.stage_files(PLAN, iter([write("a.csv")]))
        path = write("a.csv")
        store.sent.clear()
        service.stage_files(PLAN, iter([path]), delete_local=True)
        assert (path.exists(), store.sent) == (False, [])

    def test_a_file_that_is_gone_already_is_no_error(self, service: Any, store: Store, write: Any) -> None:
        path = write("a.csv")
        send = store._put_small

        def send_and_remove(target: Any, *more: Any) -> Any:
            if "_manifests" not in target.uri.key:
                path.unlink()
            return send(target, *more)

        store._put_small = send_and_remove  # type: ignore[method-assign]
        assert service.stage_files(PLAN, iter([path]), delete_local=True).object_count == 1

    def test_a_file_that_can_not_be_removed_is_an_error(
        self, service: Any, write: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write("a.csv")
        unlink = os.unlink

        def refuse(target: Any, **options: Any) -> None:
            if str(target) == str(path):
                raise PermissionError(13, "Permission denied", target)
            unlink(target, **options)

        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.raises(SourceFileError, match=r"a\.csv is staged and can't be removed.*Permission denied"):
            service.stage_files(PLAN, iter([path]), delete_local=True)


def test_the_record_says_who_staged_how_much_and_with_what(service: Any, store: Store, write: Any) -> None:
    service.stage_files(PLAN, iter([write("a.csv")]))
    staged = service.stage(PLAN, iter([write("a.csv"), write("b.csv")]))
    record = evidence(store, "manifest.json")
    assert (record["sent"], record["kept"]) == (staged.sent, staged.kept) == (1, 1)
    assert record["began_at"] == staged.began_at.isoformat()
    assert (record["engine"], record["by"]["dag_id"], record["by"]["task_id"]) == ("dpone-airflow", "orders", "stage")
    assert {"python", "dpone-airflow"} <= set(record["by"]["versions"])
    assert isinstance(staged.record, ObjectStorageObject)
