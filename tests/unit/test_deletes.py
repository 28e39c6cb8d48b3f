"""How many objects are deleted: what the servers of the conformance tests can't be made to answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpone_airflow.storage import ObjectStorageUri
from dpone_airflow.storage.answers import store_error
from dpone_airflow.storage.deletes import Deleter, inner_first
from dpone_airflow.storage.errors import BucketNotFoundError, DeleteIncompleteError

BASE = ObjectStorageUri.parse("s3://lake/base")
SLOW_DOWN = "SlowDown: Please reduce your request rate."


class Store:
    """Holds keys and answers deletes; a test overrides the answers it is about."""

    batch_size = 10
    threads = 4

    def __init__(self, keys: int) -> None:
        self.uris = [BASE.child(f"{number:04d}") for number in range(keys)]
        self.there = {uri.key for uri in self.uris}
        self.batches: list[list[str]] = []
        self.singles: list[str] = []
        self.waits: list[float] = []
        self.under_way = Counter[str]()
        self.most_at_once = Counter[str]()
        self.lock = threading.Lock()

    def refuses(self, key: str) -> str:
        return ""

    def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
        return None

    def delete(self) -> None:
        Deleter(
            self.delete_batch,
            self.delete_one,
            batch_size=self.batch_size,
            threads=self.threads,
            sleep=self.waits.append,
        ).delete(self.uris)

    def delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> Mapping[str, str]:
        with self.lock:
            self.batches.append(keys)
            if answer := self.refuses_batch(keys):
                raise store_error("delete", anywhere, *answer, "said the store")
            refused = {key: reason for key in keys if (reason := self.refuses(key))}
            self.there -= set(keys) - set(refused)
            return refused

    def delete_one(self, uri: ObjectStorageUri) -> None:
        with self.lock:
            self.under_way["singles"] += 1
            self.most_at_once["singles"] = max(self.most_at_once["singles"], self.under_way["singles"])
        threading.Event().wait(0.002)
        with self.lock:
            self.under_way["singles"] -= 1
            self.singles.append(uri.key)
            if reason := self.refuses(uri.key):
                code, _, message = reason.partition(": ")
                raise store_error("delete", uri, None, code, message)
            self.there.discard(uri.key)

    def asked(self) -> Counter[str]:
        return Counter(key for batch in self.batches for key in batch)


def test_every_key_goes_once_and_no_batch_is_above_the_limit() -> None:
    store = Store(95)
    store.delete()
    assert not store.there
    assert sorted(len(batch) for batch in store.batches) == [5, *[10] * 9]
    assert set(store.asked().values()) == {1}
    assert store.waits == []


def test_several_batches_are_under_way_at_once() -> None:
    class Waits(Store):
        """Answers no batch before all four threads have sent one."""

        def __init__(self) -> None:
            super().__init__(40)
            self.all_there = threading.Barrier(4, timeout=10)

        def delete_batch(self, anywhere: ObjectStorageUri, keys: list[str]) -> Mapping[str, str]:
            self.all_there.wait()
            return super().delete_batch(anywhere, keys)

    store = Waits()
    store.delete()
    assert not store.there


@pytest.mark.parametrize(
    "busy", ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "ServerBusy", "503", "429"]
)
def test_keys_that_a_busy_store_refuses_are_asked_for_again_and_only_those(busy: str) -> None:
    class Busy(Store):
        def refuses(self, key: str) -> str:
            return f"{busy}: later" if key.endswith("3") and len(self.waits) < 3 else ""

    store = Busy(50)
    store.delete()
    assert not store.there
    asked = store.asked()
    assert {asked[key] for key in asked if key.endswith("3")} == {4}
    assert {asked[key] for key in asked if not key.endswith("3")} == {1}


def test_each_wait_is_longer_and_they_come_to_an_end() -> None:
    class AlwaysBusy(Store):
        def refuses(self, key: str) -> str:
            return SLOW_DOWN if key.endswith("0001") else ""

    store = AlwaysBusy(20)
    with pytest.raises(DeleteIncompleteError) as failed:
        store.delete()
    assert failed.value.left == {f"{BASE}/0001": SLOW_DOWN}
    assert len(store.waits) == 6
    for number, wait in enumerate(store.waits):
        assert 2**number / 2 <= wait <= 2**number
    assert len(set(store.waits)) == 6
    assert store.asked()[BASE.child("0001").key] == 7


def test_two_workers_do_not_wait_in_step() -> None:
    class AlwaysBusy(Store):
        def refuses(self, key: str) -> str:
            return SLOW_DOWN

    stores = AlwaysBusy(1), AlwaysBusy(1)
    for store in stores:
        with pytest.raises(DeleteIncompleteError):
            store.delete()
    assert stores[0].waits != stores[1].waits


def test_a_busy_store_is_sent_fewer_requests_at_once() -> None:
    class Busy(Store):
        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (400, "NotImplemented")

        def refuses(self, key: str) -> str:
            if self.waits:
                self.most_at_once["later"] = max(self.most_at_once["later"], self.under_way["singles"] + 1)
                return ""
            return SLOW_DOWN

    store = Busy(60)
    store.delete()
    assert store.most_at_once["singles"] == 4
    assert store.most_at_once["later"] == 2


@pytest.mark.parametrize(
    ("final", "said"),
    [
        ("AccessDenied: no right", "AccessDenied: no right; it needs s3:DeleteObject"),
        ("LeaseIdMissing: a lease", "LeaseIdMissing: a lease"),
        ("held", "held"),
    ],
)
def test_what_will_not_pass_is_asked_for_once_more_without_a_wait(final: str, said: str) -> None:
    class Held(Store):
        def refuses(self, key: str) -> str:
            return final if key.endswith("7") else ""

    store = Held(20)
    with pytest.raises(DeleteIncompleteError) as failed:
        store.delete()
    assert failed.value.left == {f"{BASE}/0007": said, f"{BASE}/0017": said}
    assert store.waits == []
    assert {store.asked()[BASE.child(name).key] for name in ("0007", "0017")} == {2}


def test_what_will_not_pass_is_not_asked_for_while_the_store_is_busy_with_others() -> None:
    class Both(Store):
        def refuses(self, key: str) -> str:
            if key.endswith("7"):
                return "AccessDenied: no right"
            return SLOW_DOWN if key.endswith("3") and len(self.waits) < 4 else ""

    store = Both(10)
    with pytest.raises(DeleteIncompleteError) as failed:
        store.delete()
    assert list(failed.value.left) == [f"{BASE}/0007"]
    assert store.asked()[BASE.child("0007").key] == 2
    assert store.asked()[BASE.child("0003").key] == 5


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (429, ""), (None, "EndpointConnectionError"), (504, "x")])
def test_a_batch_that_meets_a_busy_store_is_sent_again_as_a_batch(answer: tuple[int | None, str]) -> None:
    class Busy(Store):
        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return answer if len(self.batches) in (2, 3) else None

    store = Busy(40)
    store.delete()
    assert not store.there
    assert store.singles == []
    assert len(store.batches) == 6
    assert len(store.waits) == 1


@pytest.mark.parametrize(
    "answer",
    [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "MalformedXML"), (None, "ValueError"), (411, "")],
)
def test_a_store_that_takes_no_batch_is_asked_for_one_only_until_it_says_so(answer: tuple[int | None, str]) -> None:
    class Singles(Store):
        threads = 1

        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return answer

    store = Singles(35)
    store.delete()
    assert not store.there
    assert len(store.batches) == 1
    assert sorted(store.singles) == [uri.key for uri in store.uris]
    assert store.waits == []


def test_single_deletes_use_all_threads_even_for_one_batch_of_keys() -> None:
    class Singles(Store):
        batch_size = 1000

        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (501, "NotImplemented")

    store = Singles(60)
    store.delete()
    assert not store.there
    assert store.most_at_once["singles"] == store.threads


def test_a_500_costs_its_batch_one_request_a_key_and_leaves_the_others_as_they_are() -> None:
    class FailsOnce(Store):
        threads = 1

        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (500, "InternalError") if len(self.batches) == 1 else None

    store = FailsOnce(30)
    store.delete()
    assert not store.there
    assert len(store.batches) == 3
    assert sorted(store.singles) == [uri.key for uri in store.uris[:10]]


def test_a_batch_that_is_denied_is_left_and_not_asked_for_key_by_key() -> None:
    class Denied(Store):
        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (403, "AccessDenied")

    store = Denied(10)
    with pytest.raises(DeleteIncompleteError, match="AccessDenied"):
        store.delete()
    assert (len(store.batches), store.singles, store.waits) == (2, [], [])


def test_a_bucket_that_is_not_there_ends_it_at_once() -> None:
    class NoBucket(Store):
        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (404, "NoSuchBucket")

    store = NoBucket(20)
    with pytest.raises(BucketNotFoundError):
        store.delete()
    assert store.singles == []


def test_a_key_that_is_gone_already_is_deleted() -> None:
    class Singles(Store):
        def refuses_batch(self, keys: list[str]) -> tuple[int | None, str] | None:
            return (501, "NotImplemented")

        def refuses(self, key: str) -> str:
            return "NoSuchKey: gone" if key.endswith("3") else ""

    store = Singles(10)
    store.delete()
    assert store.there == {BASE.child("0003").key}, "somebody else had deleted it"


class HierarchicalStore(Store):
    """One that lists its folders as objects and deletes only what is empty, as Azure's hierarchical namespace does.

    https://learn.microsoft.com/rest/api/storageservices/delete-blob
    """

    def __init__(self, keys: list[str]) -> None:
        super().__init__(0)
        self.uris = [BASE.child(key) for key in keys]
        self.there = {uri.key for uri in self.uris}

    def refuses(self, key: str) -> str:
        return "DirectoryIsNotEmpty: 409" if any(other.startswith(f"{key}/") for other in self.there) else ""


def test_folders_go_after_what_is_in_them_the_deepest_first() -> None:
    # As a listing has them: each folder before what is in it, and several batches of each kind.
    folders = ["a", *(f"a/{number:02d}" for number in range(15)), *(f"a/{number:02d}/deep" for number in range(15))]
    store = HierarchicalStore(sorted([*folders, *(f"{folder}/file" for folder in folders), "b"]))
    store.delete()
    assert store.there == set()
    assert set(store.asked().values()) == {1}, "a folder was asked for while it wasn't empty"
    assert store.waits == []


def test_a_folder_that_cannot_be_emptied_is_left_and_named_with_what_is_in_it() -> None:
    class Held(HierarchicalStore):
        def refuses(self, key: str) -> str:
            return "LeaseIdMissing: 412" if key.endswith("a/held") else super().refuses(key)

    store = Held(["a", "a/held", "a/free", "b", "b/free"])
    with pytest.raises(DeleteIncompleteError) as refused:
        store.delete()
    assert store.there == {BASE.child("a").key, BASE.child("a/held").key}
    assert refused.value.left.keys() == {str(BASE.child("a")), str(BASE.child("a/held"))}


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=4).map("/".join), unique=True))
def test_each_key_is_in_one_group_and_no_folder_before_what_is_in_it(keys: list[str]) -> None:
    groups = inner_first(keys)
    assert sorted(key for group in groups for key in group) == sorted(keys)
    order = {key: number for number, group in enumerate(groups) for key in group}
    for folder in keys:
        for key in keys:
            if folder and key.startswith(f"{folder}/"):
                assert order[key] < order[folder]
