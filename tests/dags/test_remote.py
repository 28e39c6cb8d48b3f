"""Files that lie on an SFTP server or in another store are streamed into the run prefix."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpone_airflow.hooks.remote_files import remote_files
from dpone_airflow.operators import ObjectStorageStageOperator
from dpone_airflow.staging import ObjectStorageStagingManifest
from dpone_airflow.storage.errors import InvalidInputError, NoFilesMatchedError, SourceFileError
from dpone_airflow.storage.remote_file import RemoteFile
from local_servers import Azurite, FakeGcsServer
from local_servers.in_process_airflow import run_dag
from tests.dags.conftest import RunDag
from tests.sftp_server import SftpServer, sftp_server

EXAMPLES = Path(__file__).parents[2] / "example_dags"
MIB = 1024 * 1024
# Read when gcsfs is imported: it would ask by gRPC what kind a bucket is, which no server here answers.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One for all tests: Airflow keeps the filesystem of a connection as long as its process lives."""
    root = tmp_path_factory.mktemp("sftp")
    orders = root / "exports" / "orders"
    (orders / "dt=1").mkdir(parents=True)
    (orders / "a.csv").write_text("a")
    (orders / "b.csv").write_bytes(os.urandom(18 * MIB))
    (orders / "empty.csv").write_text("")
    (orders / "note.txt").write_text("no order")
    (orders / "dt=1" / "a.csv").write_text("a of the first")
    with sftp_server(root) as running:
        yield running


@pytest.fixture
def sftp(server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> SftpServer:
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER_SFTP", server.airflow_connection())
    return server


def staged(xcom: dict[str, Any]) -> dict[str, tuple[int, str]]:
    manifest = ObjectStorageStagingManifest.from_dict(xcom)
    return {item.file_name: (item.size_bytes, item.sha256) for item in manifest.objects}


def read(file: RemoteFile) -> bytes:
    with file.open() as stream:
        return stream.read()


def of(path: Path) -> tuple[int, str]:
    return path.stat().st_size, sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("emulator")
def test_the_example(dag_file: Any, sftp: SftpServer) -> None:
    result = run_dag(dag_file((EXAMPLES / "example_remote.py").read_text()).dag)
    assert result.state == "success"
    orders = sftp.root / "exports" / "orders"
    assert staged(result.xcoms["stage"]) == {name: of(orders / name) for name in ("a.csv", "b.csv", "empty.csv")}


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ("sftp:///exports/orders/a.csv", ["a.csv"]),
        ("sftp:///exports/orders", ["a.csv", "b.csv", "dt=1/a.csv", "empty.csv", "note.txt"]),
        ("sftp:///exports/orders/", ["a.csv", "b.csv", "dt=1/a.csv", "empty.csv", "note.txt"]),
        ("sftp:///exports/*/dt=*", ["orders/dt=1/a.csv"]),
        ("sftp:///exports/orders/[ab].csv", ["a.csv", "b.csv"]),
        ("sftp:///exports/orders/**", ["a.csv", "b.csv", "dt=1/a.csv", "empty.csv", "note.txt"]),
        ("sftp:///exports/**/a.csv", ["orders/a.csv", "orders/dt=1/a.csv"]),
    ],
)
def test_names_are_those_that_local_files_would_have(sftp: SftpServer, files: str, names: list[str]) -> None:
    found = list(remote_files(files, "partner_sftp"))
    assert [file.file_name for file in found] == names
    for file in found:
        assert len(read(file)) == file.size_bytes


def test_a_path_that_exists_is_never_read_as_a_glob(sftp: SftpServer) -> None:
    folder = sftp.root / "signs"
    (folder / "dt=[1]").mkdir(parents=True)
    for name in ("report[1].csv", "report1.csv", "dt=[1]/a.csv"):
        (folder / name).write_text(name)

    def contents(files: str) -> dict[str, bytes]:
        return {file.file_name: read(file) for file in remote_files(files, "partner_sftp")}

    assert contents("sftp:///signs/report[1].csv") == {"report[1].csv": b"report[1].csv"}
    assert contents("sftp:///signs/dt=[1]") == {"a.csv": b"dt=[1]/a.csv"}
    assert contents("sftp:///signs/report[12].csv") == {"report1.csv": b"report1.csv"}


@pytest.fixture
def links(sftp: SftpServer) -> Iterator[Path]:
    """A folder with a file, a link to a longer one, and a link to a folder beside it."""
    folder = sftp.root / "links"
    (folder / "day").mkdir(parents=True)
    (sftp.root / "targets" / "days").mkdir(parents=True)
    (sftp.root / "targets" / "long.dat").write_text("longer than the path of it is\n" * 3)
    (sftp.root / "targets" / "days" / "b.csv").write_text("b")
    (folder / "day" / "a.csv").write_text("a")
    (folder / "day" / "latest.csv").symlink_to("../../targets/long.dat")
    (folder / "today").symlink_to("../targets/days")
    yield folder
    shutil.rmtree(folder)
    shutil.rmtree(sftp.root / "targets")


@pytest.mark.parametrize(
    ("files", "sizes"),
    [
        ("sftp:///links/day/latest.csv", {"latest.csv": 90}),
        ("sftp:///links/day/*.csv", {"a.csv": 1, "latest.csv": 90}),
        ("sftp:///links/day", {"a.csv": 1, "latest.csv": 90}),
        ("sftp:///links/*", {"day/a.csv": 1, "day/latest.csv": 90, "today/b.csv": 1}),
        ("sftp:///links/today", {"b.csv": 1}),
    ],
)
@pytest.mark.usefixtures("links")
def test_a_link_is_read_as_what_it_stands_for_under_its_own_name(files: str, sizes: dict[str, int]) -> None:
    found = list(remote_files(files, "partner_sftp"))
    assert {file.file_name: file.size_bytes for file in found} == sizes
    assert {file.file_name: len(read(file)) for file in found} == sizes


@pytest.mark.parametrize("files", ["sftp:///links/day/*", "sftp:///links/day"])
def test_what_is_no_file_is_named(links: Path, files: str) -> None:
    odd = links / "day" / "odd"

    def refused() -> str:
        with pytest.raises(SourceFileError) as error:
            list(remote_files(files, "partner_sftp"))
        odd.unlink()
        return str(error.value)

    odd.symlink_to("nowhere")
    assert refused().startswith(f"{files} has /links/day/odd, a link to what isn't there")
    os.mkfifo(odd)
    assert refused() == f"{files} has /links/day/odd, which is neither a file nor a directory."


def test_a_link_to_a_directory_is_not_followed_below_a_directory(links: Path) -> None:
    (links / "day" / "round").symlink_to("../day")
    with pytest.raises(SourceFileError, match="has /links/day/round, a link to a directory"):
        list(remote_files("sftp:///links/day", "partner_sftp"))


def test_a_link_that_its_filesystem_does_not_follow_is_of_unknown_length() -> None:
    link = {"name": "/a.csv", "type": "link", "size": 3}
    filesystem = SimpleNamespace(
        info=lambda _: link, open=lambda *_, **__: BytesIO(b"content"), _strip_protocol=lambda path: path
    )
    (found,) = remote_files(SimpleNamespace(fs=filesystem, path="/a.csv", protocol="smb"), None)
    assert (found.file_name, found.size_bytes, read(found)) == ("a.csv", None, b"content")


def test_a_link_on_this_host_that_is_read_through_a_uri_is_staged(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "long.dat").write_text("content")
    (tmp_path / "day" / "latest.csv").symlink_to("../long.dat")
    for files in ("day", "day/*", "day/latest.csv"):
        (found,) = remote_files(f"file://{tmp_path}/{files}", None)
        assert (found.file_name, found.size_bytes, read(found)) == ("latest.csv", 7, b"content")


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ("sftp:///exports/orders/none.csv", SourceFileError, "none.csv can't be listed: it isn't there"),
        ("smoke://host/file", InvalidInputError, "smoke://host/file can't be read.*source_conn_id"),
    ],
)
def test_what_can_not_be_found_is_named(sftp: SftpServer, files: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(remote_files(files, "partner_sftp"))


@pytest.mark.parametrize("files", ["sftp:///exports/orders/*.json", "sftp:///exports/*/none/*.csv", "sftp:///empty"])
def test_a_glob_without_a_match_and_an_empty_directory_have_no_files(sftp: SftpServer, files: str) -> None:
    (sftp.root / "empty").mkdir(exist_ok=True)
    assert list(remote_files(files, "partner_sftp")) == []


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[str, str]:
    """The URIs of a folder with a file and of one with none."""
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "a.csv").write_text("a")
    return f"file://{full}", f"file://{empty}"


def test_an_entry_without_files_is_no_reason_to_skip_the_others(run: RunDag, two_folders: tuple[str, str]) -> None:
    full, empty = two_folders
    entries = [f"{empty}/*.csv", f"{full}/*.csv", empty]
    result = run(
        f"""
        place = dict(base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
                     conn_id="emulator", on_empty="skip")
        @task.stage_files(**place)
        def listed(): return {entries!r}
        @task.stage_files(**place)
        def one_by_one(): yield from {entries!r}
        listed()
        one_by_one()
        stage_task(files={entries!r}, on_empty="skip")
        """
    )
    assert result.state == "success"
    for name in ("stage", "listed", "one_by_one"):
        assert list(staged(result.xcoms[name])) == ["a.csv"]


@pytest.mark.parametrize(("on_empty", "state"), [("skip", "skipped"), ("fail", "failed")])
def test_entries_that_have_no_files_at_all_skip_or_fail(
    run: RunDag, two_folders: tuple[str, str], on_empty: str, state: str
) -> None:
    entries = [f"{two_folders[1]}/*.csv", two_folders[1]]
    result = run(
        f"""
        place = dict(base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv",
                     conn_id="emulator", on_empty={on_empty!r})
        @task.stage_files(**place)
        def listed(): return {entries!r}
        @task.stage_files(**place)
        def one_by_one(): yield from {entries!r}
        listed()
        one_by_one()
        stage_task(files={entries!r}, on_empty={on_empty!r})
        """
    )
    assert result.tasks == dict.fromkeys(("stage", "listed", "one_by_one"), state)


def test_what_was_asked_for_is_named_when_it_has_no_files(two_folders: tuple[str, str]) -> None:
    operator = ObjectStorageStageOperator(
        task_id="stage",
        files=[f"{two_folders[1]}/*.csv", two_folders[1]],
        base_uri="s3://landing/orders",
        dataset="shop",
        table="orders",
        file_format="csv",
    )
    with pytest.raises(
        NoFilesMatchedError, match=r"files=\['file://.*/empty/\*\.csv', 'file://.*/empty'\] matched none"
    ):
        operator._files_to_stage({})


def test_a_path_and_a_local_file_go_together(run: RunDag, sftp: SftpServer) -> None:
    result = run(
        """
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        @task.stage_files(
            base_uri="s3://landing/orders", dataset="shop", table="orders", file_format="csv", conn_id="emulator"
        )
        def extract():
            yield FILES + "/c.csv"
            yield ObjectStoragePath("sftp://partner_sftp@/exports/orders/a.csv")

        extract()
        stage_task(task_id="stage", files=[
            FILES + "/c.csv", ObjectStoragePath("sftp:///exports/orders/a.csv", conn_id="partner_sftp"),
        ])
        """
    )
    assert result.state == "success"
    for task in ("extract", "stage"):
        assert list(staged(result.xcoms[task])) == ["c.csv", "a.csv"]


@pytest.mark.parametrize("kind", [FakeGcsServer, Azurite])
def test_from_another_store(run: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    from dpone_airflow.hooks import ObjectStorageHook
    from dpone_airflow.storage import ObjectStorageUri

    scheme, conn_id = {FakeGcsServer: ("gs", "source_gcs"), Azurite: ("az", "source_azure")}[kind]
    with kind.start(tmp_path / "server") as server:
        server.create_bucket("exports")
        connection = server.airflow_connection()
        if scheme == "az":  # adlfs and WasbHook both read this one
            text = f"AccountName={server.account};AccountKey={server.key};BlobEndpoint={server.endpoint}"
            connection = {
                "conn_type": "wasb",
                "extra": {"connection_string": f"DefaultEndpointsProtocol=http;{text}"},
            }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        client = ObjectStorageHook(conn_id).get_client(f"{scheme}://exports/")
        content = {"a.csv": b"a", "b.csv": os.urandom(17 * MIB)}
        for name, data in content.items():
            client.put_bytes(data, ObjectStorageUri.parse(f"{scheme}://exports/orders/{name}"))
        from_there = {"gs": "gs://exports/orders/*.csv", "az": "abfs://exports/orders/*.csv"}[scheme]
        result = run(f"stage_task(files={from_there!r}, source_conn_id={conn_id!r})")
    assert result.state == "success"
    assert staged(result.xcoms["stage"]) == {
        name: (len(data), sha256(data).hexdigest()) for name, data in content.items()
    }
