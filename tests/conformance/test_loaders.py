"""ClickHouse (by chdb) and DuckDB load just the files of a manifest from real servers: as many rows and the same sum.

Beside the files of each run lies one that is in no manifest, as any other program may put one there.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb as duckdb_engine
import pyarrow as pa
import pyarrow.parquet
import pytest

from dpone_airflow.staging import ObjectStorageStagingManifest, ObjectStorageStagingPlan, ObjectStorageStagingService
from dpone_airflow.staging.loaders import clickhouse, duckdb
from tests.conformance.stores import Store

ROWS_EACH = 10
# As odd as a file system, the store and the target allow; a blank, quotes, letters, what URLs or SQL read otherwise.
ODD_NAMES = (
    "plain.csv",
    "dt=2026-11-22/part-0.csv",
    "it's.csv",
    'a "b" c.csv',
    "naïve ü 日本.csv",
    "a+b=c&d@e!f$g(h)~i;j.csv",
    "100%25.csv",
    "a,b.csv",
    "1..3.csv",
    "[x]-^y|z.csv",
)
PATTERNS = ("a*b.csv", "{a}.csv")
# Both engines would take `dt` from the folder, and ClickHouse needs a call of its own for the comma.
IN_A_FOLDER = ("dt=2026-11-22/a", "dt=2026-11-22/b,c")
OWN_DAY = "the file's own"


@dataclass(frozen=True)
class Staged:
    """What was staged, and what a load of it must add up to."""

    store: Store
    manifest: ObjectStorageStagingManifest
    rows: int
    total: int


@pytest.fixture(params=["seaweedfs", "fake-gcs-server", "azurite"])
def store(request: pytest.FixtureRequest, started: Callable[[str], Store]) -> Store:
    """The stores of which each speaks one cloud's protocol to both engines."""
    return started(request.param)


@pytest.fixture
def stage(store: Store, tmp_path: Path) -> Callable[..., Staged]:
    """Stage a table of ids as some files, and put a stray beside them."""

    def run(
        names: tuple[str, ...], file_format: str, compression: str = "none", *, run_id: str = "run-1.a-b_c"
    ) -> Staged:
        names = tuple(store.name(name) for name in names)
        folder = tmp_path / "files"
        ids = range(len(names) * ROWS_EACH)
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(ids[number * ROWS_EACH : (number + 1) * ROWS_EACH], file_format, compression))
        plan = ObjectStorageStagingPlan(
            base_uri=f"{store.root}/test-{uuid4().hex[:12]}",
            run_id=run_id,
            dataset="shop",
            table="orders",
            file_format=file_format,
            compression=compression,
        )
        client = store.client()
        manifest = ObjectStorageStagingService(client=client).stage_files(plan, [folder])
        assert manifest.object_count == len(names)
        suffix = names[0][names[0].index(".") :]
        client.put_bytes(content(range(1_000_000, 1_000_005), file_format, compression), plan.uri_of(f"stray{suffix}"))
        return Staged(store, manifest, len(ids), sum(ids))

    return run


def content(ids: range, file_format: str, compression: str) -> bytes:
    """Return a file of three columns, ``id``, ``name`` and ``dt``."""
    rows = [{"id": number, "name": f"order {number}", "dt": OWN_DAY} for number in ids]
    if file_format == "parquet":
        sink = io.BytesIO()
        pa.parquet.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    text = io.StringIO()
    if file_format == "jsonl":
        text.writelines(f"{json.dumps(row)}\n" for row in rows)
    else:
        writer = csv.DictWriter(
            text, ("id", "name", "dt"), delimiter="\t" if file_format == "tsv" else ",", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    data = text.getvalue().encode()
    return {"none": bytes, "gzip": gzip.compress}[compression](data)


# DuckDB.


@contextmanager
def duckdb_for(store: Store) -> Iterator[duckdb_engine.DuckDBPyConnection]:
    """Return a DuckDB that knows the way to a store, and the key."""
    from duckdb_extensions import import_extension

    server = store.server
    with duckdb_engine.connect() as db:
        for extension in ("httpfs", "azure"):
            import_extension(extension, con=db)
            db.execute(f"LOAD {extension}")
        host = server.endpoint.partition("://")[2]
        secret = {
            "s3": lambda: f"TYPE s3, KEY_ID '{server.access_key}', SECRET '{server.secret_key}', REGION 'us-east-1'",
            "gs": lambda: "TYPE gcs, KEY_ID 'any', SECRET 'any'",
            "azure": lambda: f"TYPE azure, CONNECTION_STRING '{server.connection_string}'",
        }[store.root.partition("://")[0]]()
        if "azure" not in secret:
            secret += f", ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false"
        db.execute(f"CREATE SECRET ({secret})")
        yield db


EVERY_FORMAT = pytest.mark.parametrize(
    ("file_format", "compression", "suffix"),
    [
        ("csv", "none", "csv"),
        ("csv", "gzip", "csv.gz"),
        ("csv", "gzip", "bin"),
        ("tsv", "none", "tsv"),
        ("jsonl", "none", "jsonl"),
        ("parquet", "snappy", "parquet"),
    ],
)


def loaded_by_duckdb(staged: Staged, source: str) -> tuple[int, int]:
    with duckdb_for(staged.store) as db:
        db.execute(f"CREATE TABLE orders AS SELECT id, name FROM {source}")
        return db.execute("SELECT count(*), sum(id)::BIGINT FROM orders").fetchone()  # type: ignore[return-value]


IN_FOLDERS = pytest.mark.parametrize(
    ("names", "file_format", "run_id"),
    [
        (IN_A_FOLDER, "csv", "run-1"),
        (IN_A_FOLDER, "jsonl", "run-1"),
        (IN_A_FOLDER, "parquet", "run-1"),
        (("a", "b,c"), "csv", "dt=2026-11-22"),
    ],
    ids=["csv", "jsonl", "parquet", "run id"],
)


@EVERY_FORMAT
def test_duckdb_loads_every_format(
    stage: Callable[..., Staged], file_format: str, compression: str, suffix: str
) -> None:
    staged = stage(tuple(f"part-{number}.{suffix}" for number in range(3)), file_format, compression)
    assert loaded_by_duckdb(staged, duckdb.source(staged.manifest, azure_host=None)) == (staged.rows, staged.total)


def test_duckdb_loads_files_of_any_name(stage: Callable[..., Staged]) -> None:
    staged = stage((*ODD_NAMES, *PATTERNS), "csv")
    assert loaded_by_duckdb(staged, duckdb.source(staged.manifest, azure_host=None)) == (staged.rows, staged.total)


def days_by_duckdb(staged: Staged, source: str) -> set[str]:
    with duckdb_for(staged.store) as db:
        return {day for (day,) in db.execute(f"SELECT dt::VARCHAR FROM {source}").fetchall()}


@IN_FOLDERS
def test_duckdb_keeps_a_files_own_column_though_a_folder_has_its_name(
    stage: Callable[..., Staged], names: tuple[str, ...], file_format: str, run_id: str
) -> None:
    staged = stage(tuple(f"{name}.{file_format}" for name in names), file_format, run_id=run_id)
    assert days_by_duckdb(staged, duckdb.source(staged.manifest, azure_host=None)) == {OWN_DAY}
    told = duckdb.source(staged.manifest, azure_host=None, options={"hive_partitioning": True})
    assert days_by_duckdb(staged, told) == {"2026-11-22"}


def test_duckdb_fails_when_a_file_has_gone(stage: Callable[..., Staged]) -> None:
    staged = stage(("a.csv", "b.csv"), "csv")
    staged.store.client().delete_objects([staged.manifest.prefix.child("b.csv")])
    with pytest.raises(duckdb_engine.Error):
        loaded_by_duckdb(staged, duckdb.source(staged.manifest, azure_host=None))


# ClickHouse.


@contextmanager
def clickhouse_session() -> Iterator[Any]:
    """Return a ClickHouse in this process; it is large, so it is loaded by the tests that need it only."""
    from chdb.session import Session

    with Session() as session:
        yield session


def clickhouse_arguments(store: Store) -> dict[str, Any]:
    """Return what leads ``clickhouse.table`` to a store."""
    if store.root.startswith("gs://"):
        return {"endpoint": store.server.endpoint, "credentials": "anonymous"}
    at = {"endpoint": store.server.endpoint} if store.root.startswith("s3://") else {}
    return {"credentials": "parameters", **at}


def clickhouse_parameters(store: Store) -> dict[str, str]:
    """Return the secrets that go beside a query."""
    if store.root.startswith("s3://"):
        return {"dpone_access_key": store.server.access_key, "dpone_secret_key": store.server.secret_key}
    return {} if store.root.startswith("gs://") else {"dpone_connection_string": store.server.connection_string}


def loaded_by_clickhouse(staged: Staged, *sources: str) -> tuple[int, int]:
    with clickhouse_session() as session:
        session.query("CREATE TABLE orders (id UInt64, name String) ENGINE = MergeTree ORDER BY id")
        for source in sources:
            session.query(
                f"INSERT INTO orders SELECT id, name FROM {source}", params=clickhouse_parameters(staged.store)
            )
        rows, total = session.query("SELECT count(), sum(id) FROM orders").data().strip().split(",")
        session.query("DROP TABLE orders SYNC")
    return int(rows), int(total)


@EVERY_FORMAT
def test_clickhouse_loads_every_format(
    stage: Callable[..., Staged], file_format: str, compression: str, suffix: str
) -> None:
    staged = stage(tuple(f"part-{number}.{suffix}" for number in range(3)), file_format, compression)
    source = clickhouse.table(staged.manifest, **clickhouse_arguments(staged.store))
    assert loaded_by_clickhouse(staged, source) == (staged.rows, staged.total)


def test_clickhouse_loads_files_of_any_name(stage: Callable[..., Staged]) -> None:
    staged = stage(ODD_NAMES, "csv")
    source = clickhouse.table(staged.manifest, **clickhouse_arguments(staged.store))
    assert loaded_by_clickhouse(staged, source) == (staged.rows, staged.total)


def test_clickhouse_loads_piece_by_piece(stage: Callable[..., Staged]) -> None:
    staged = stage(ODD_NAMES, "csv")
    sources = clickhouse.tables(staged.manifest, size=3, **clickhouse_arguments(staged.store))
    assert len(sources) == 4
    assert loaded_by_clickhouse(staged, *sources) == (staged.rows, staged.total)


def test_clickhouse_loads_through_a_named_collection(stage: Callable[..., Staged]) -> None:
    staged = stage(ODD_NAMES, "csv")
    server = staged.store.server
    bucket = f"url = '{getattr(server, 'endpoint', '')}/{staged.manifest.prefix.bucket}/'"
    values = {
        "s3": lambda: f"{bucket}, access_key_id = '{server.access_key}', secret_access_key = '{server.secret_key}'",
        "gs": lambda: f"{bucket}, no_sign_request = 1",
        "azure": lambda: f"connection_string = '{server.connection_string}'",
    }[staged.manifest.prefix.scheme]()
    with clickhouse_session() as session:
        session.query(f"CREATE NAMED COLLECTION landing AS {values}")
        try:
            source = clickhouse.table(staged.manifest, named_collection="landing")
            found = session.query(f"SELECT count(), sum(id) FROM {source}").data().strip()
        finally:
            session.query("DROP NAMED COLLECTION landing")
    assert found == f"{staged.rows},{staged.total}"


def days_by_clickhouse(staged: Staged, source: str) -> set[str]:
    with clickhouse_session() as session:
        found = session.query(
            f"SELECT toString(dt) FROM {source}", "TabSeparatedRaw", params=clickhouse_parameters(staged.store)
        )
        return set(found.data().splitlines())


@IN_FOLDERS
def test_clickhouse_keeps_a_files_own_column_though_a_folder_has_its_name(
    stage: Callable[..., Staged], names: tuple[str, ...], file_format: str, run_id: str
) -> None:
    staged = stage(tuple(f"{name}.{file_format}" for name in names), file_format, run_id=run_id)
    arguments = clickhouse_arguments(staged.store)
    assert days_by_clickhouse(staged, clickhouse.table(staged.manifest, **arguments)) == {OWN_DAY}
    pieces = clickhouse.tables(staged.manifest, size=1, **arguments)
    assert [days_by_clickhouse(staged, piece) for piece in pieces] == [{OWN_DAY}, {OWN_DAY}]
    told = clickhouse.table(staged.manifest, hive_partitioning=True, **arguments)
    assert days_by_clickhouse(staged, told) == {"2026-11-22"}


@pytest.mark.parametrize(
    ("run_id", "structure", "code"),
    [
        ("run-1", "auto", "007"),
        ("run=1", "auto", "7"),
        ("run=1", "id UInt64, code String", "007"),
    ],
    ids=["from the table", "from the file", "as it is said"],
)
def test_an_insert_takes_the_types_from_its_table_for_a_plain_call_only(
    started: Callable[[str], Store], tmp_path: Path, run_id: str, structure: str, code: str
) -> None:
    store = started("seaweedfs")
    plan = ObjectStorageStagingPlan(
        base_uri=f"{store.root}/test-{uuid4().hex[:12]}",
        run_id=run_id,
        dataset="shop",
        table="orders",
        file_format="csv",
    )
    (tmp_path / "a.csv").write_text("id,code\n1,007\n")
    manifest = ObjectStorageStagingService(client=store.client()).stage_files(plan, [tmp_path / "a.csv"])
    source = clickhouse.table(manifest, structure=structure, **clickhouse_arguments(store))
    with clickhouse_session() as session:
        session.query("CREATE TABLE orders (id UInt64, code String) ENGINE = MergeTree ORDER BY id")
        session.query(f"INSERT INTO orders SELECT * FROM {source}", params=clickhouse_parameters(store))
        found = session.query("SELECT code FROM orders", "TabSeparatedRaw").data().strip()
        session.query("DROP TABLE orders SYNC")
    assert found == code


def test_clickhouse_fails_when_a_file_has_gone(stage: Callable[..., Staged]) -> None:
    staged = stage(("a.csv", "b.csv"), "csv")
    staged.store.client().delete_objects([staged.manifest.prefix.child("b.csv")])
    with pytest.raises(RuntimeError, match="404"):
        loaded_by_clickhouse(staged, clickhouse.table(staged.manifest, **clickhouse_arguments(staged.store)))


def test_clickhouse_is_refused_without_the_secret(started: Callable[[str], Store], tmp_path: Path) -> None:
    """The keys are where the parameters are, and not in the text."""
    store = started("seaweedfs")
    plan = ObjectStorageStagingPlan(
        base_uri=f"{store.root}/test-{uuid4().hex[:12]}",
        run_id="run",
        dataset="shop",
        table="orders",
        file_format="csv",
    )
    (tmp_path / "a.csv").write_text("id,name\n1,one\n")
    manifest = ObjectStorageStagingService(client=store.client()).stage_files(plan, [tmp_path / "a.csv"])
    source = clickhouse.table(manifest, **clickhouse_arguments(store))
    assert store.server.secret_key not in source
    wrong = {"dpone_access_key": store.server.access_key, "dpone_secret_key": "wrong"}
    with clickhouse_session() as session, pytest.raises(RuntimeError, match="403"):
        session.query(f"SELECT * FROM {source}", params=wrong)
