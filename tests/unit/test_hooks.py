"""A connection and a URI become a client, and the emulator's connection has a form and a Test button."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.google.cloud.hooks.gcs import GCSHook
from requests.adapters import HTTPAdapter

from dpone_airflow import __version__
from dpone_airflow.get_provider_info import get_provider_info
from dpone_airflow.hooks import LocalObjectStorageHook, ObjectStorageHook
from dpone_airflow.storage import (
    AzureBlobObjectStorageClient,
    GCSObjectStorageClient,
    LocalObjectStorageClient,
    ObjectStorageUri,
    S3ObjectStorageClient,
)
from dpone_airflow.storage.errors import (
    ConnectionMismatchError,
    EngineNotUsableError,
    InvalidOptionError,
    InvalidUriError,
    MissingExtraError,
)
from dpone_airflow.storage.obstore_uploader import ObstoreUploader

Connect = Callable[..., None]
LOCAL = "dpone_local_object_storage"
ALL_FORMS = ["s3://lake/x", "gs://lake/x", "az://lake/x", "azure://account/lake/x"]
AZURITE_KEY = "a2V5IG9mIG5vYm9keQ=="


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define an Airflow connection for one test."""

    def define(conn_id: str, conn_type: str, **fields: Any) -> None:
        connection = {"conn_type": conn_type, "port": 0} | fields
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    return define


# Which client.


@pytest.mark.parametrize("uri", ALL_FORMS)
def test_the_emulators_connection_serves_every_uri(connect: Connect, tmp_path: Path, uri: str) -> None:
    connect("mine", LOCAL, extra={"root_dir": str(tmp_path)})
    client = ObjectStorageHook("mine", max_concurrency=3).get_client(uri)
    assert isinstance(client, LocalObjectStorageClient)
    assert (client.root_dir, client.max_concurrency) == (tmp_path, 3)


@pytest.mark.parametrize(
    ("uri", "conn_id"),
    [
        ("s3://lake/x", "aws_default"),
        ("gs://lake/x", "google_cloud_default"),
        ("az://lake/x", "wasb_default"),
        ("azure://account/lake/x", "wasb_default"),
    ],
)
def test_without_a_conn_id_the_scheme_chooses(connect: Connect, tmp_path: Path, uri: str, conn_id: str) -> None:
    for name in ("aws_default", "google_cloud_default", "wasb_default"):
        connect(name, LOCAL, extra={"root_dir": str(tmp_path / name)})
    client = ObjectStorageHook().get_client(uri)
    assert isinstance(client, LocalObjectStorageClient)
    assert client.root_dir == tmp_path / conn_id


def test_an_aws_connection_serves_s3(connect: Connect) -> None:
    connect("mine", "aws", login="key", password="secret", extra={"region_name": "eu-north-1"})
    client = ObjectStorageHook("mine", {"StorageClass": "STANDARD_IA"}, max_concurrency=40).get_client("s3://lake/x")
    assert isinstance(client, S3ObjectStorageClient)
    sdk = client._s3
    assert sdk.meta.region_name == "eu-north-1"
    assert sdk.meta.config.max_pool_connections >= 40
    assert client.storage_options == {"StorageClass": "STANDARD_IA"}


def test_an_endpoint_that_only_speaks_s3_is_not_sent_checksums_it_may_not_know(connect: Connect) -> None:
    connect("mine", "aws", login="key", password="secret", extra={"endpoint_url": "http://127.0.0.1:1"})
    client = ObjectStorageHook("mine").get_client("s3://lake/x")
    assert isinstance(client, S3ObjectStorageClient)
    assert client._s3.meta.endpoint_url == "http://127.0.0.1:1"
    assert client._s3.meta.config.request_checksum_calculation == "when_required"
    assert client._s3.meta.config.response_checksum_validation == "when_required"


def test_what_the_aws_connection_configures_itself_stays(connect: Connect) -> None:
    extra = {
        "endpoint_url": "http://127.0.0.1:1",
        "config_kwargs": {"max_pool_connections": 99, "request_checksum_calculation": "when_supported"},
    }
    connect("mine", "aws", login="key", password="secret", extra=extra)
    client = ObjectStorageHook("mine").get_client("s3://lake/x")
    assert isinstance(client, S3ObjectStorageClient)
    assert client._s3.meta.config.max_pool_connections == 99
    assert client._s3.meta.config.request_checksum_calculation == "when_supported"


def test_s3_does_without_aws_default_as_airflows_own_hook_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert isinstance(ObjectStorageHook().get_client("s3://lake/x"), S3ObjectStorageClient)


@pytest.mark.parametrize(("conn_id", "uri"), [(None, "gs://lake/x"), (None, "az://lake/x"), ("nowhere", "s3://lake/x")])
def test_a_connection_that_is_not_there_is_airflows_own_error(conn_id: str | None, uri: str) -> None:
    with pytest.raises(AirflowNotFoundException, match=conn_id or "default"):
        ObjectStorageHook(conn_id).get_client(uri)


def test_a_google_connection_serves_gcs(connect: Connect) -> None:
    connect("mine", "google_cloud_platform", extra={"project": "p", "is_anonymous": True})
    client = ObjectStorageHook("mine", {"user_project": "billing"}).get_client("gs://lake/x")
    assert isinstance(client, GCSObjectStorageClient)
    assert client._user_project == "billing"


@pytest.mark.parametrize("uri", ["az://lake/x", "azure://account/lake/x"])
def test_a_wasb_connection_serves_azure(connect: Connect, uri: str) -> None:
    connect("mine", "wasb", login="account", password=AZURITE_KEY)
    client = ObjectStorageHook("mine").get_client(uri)
    assert isinstance(client, AzureBlobObjectStorageClient)


def test_a_uri_of_another_account_than_the_connections_is_refused(connect: Connect) -> None:
    connect("mine", "wasb", login="account", password=AZURITE_KEY)
    with pytest.raises(ConnectionMismatchError, match="'other', and the connection is one to 'account'"):
        ObjectStorageHook("mine").get_client("azure://other/lake/x")


@pytest.mark.parametrize(
    ("conn_type", "uri", "wanted"),
    [
        ("aws", "gs://lake/x", "google_cloud_platform"),
        ("aws", "az://lake/x", "wasb"),
        ("google_cloud_platform", "s3://lake/x", "aws"),
        ("wasb", "s3://lake/x", "aws"),
        ("http", "s3://lake/x", "aws"),
        ("wasb", "gs://lake/x", "google_cloud_platform"),
        ("google_cloud_platform", "azure://account/lake/x", "wasb"),
    ],
)
def test_a_scheme_that_does_not_fit_the_connection_is_refused(
    connect: Connect, conn_type: str, uri: str, wanted: str
) -> None:
    connect("mine", conn_type, login="account", password=AZURITE_KEY)
    with pytest.raises(ConnectionMismatchError) as refused:
        ObjectStorageHook("mine").get_client(uri)
    assert f"needs a connection of type '{wanted}'" in str(refused.value)
    assert f"'mine' is of type '{conn_type}'" in str(refused.value)
    assert AZURITE_KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("conn_type", "uri", "module", "extra"),
    [
        ("aws", "s3://lake/x", "airflow.providers.amazon.aws.hooks.s3", "s3"),
        ("google_cloud_platform", "gs://lake/x", "airflow.providers.google.cloud.hooks.gcs", "gcp"),
        ("wasb", "az://lake/x", "airflow.providers.microsoft.azure.hooks.wasb", "azure"),
    ],
)
def test_a_provider_that_is_not_installed_names_the_extra(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, conn_type: str, uri: str, module: str, extra: str
) -> None:
    connect("mine", conn_type)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "dpone-airflow\[{extra}\]"') as missing:
        ObjectStorageHook("mine").get_client(uri)
    assert missing.value.extra == extra


@pytest.mark.parametrize(
    ("client", "module", "arguments", "extra"),
    [
        (S3ObjectStorageClient, "boto3", {}, "s3"),
        (GCSObjectStorageClient, "google.cloud.storage", {}, "gcp"),
        (AzureBlobObjectStorageClient, "azure.storage.blob", {"connection_string": "AccountName=a"}, "azure"),
    ],
)
def test_a_client_without_its_sdk_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, client: type, module: str, arguments: dict[str, str], extra: str
) -> None:
    parent, _, name = module.rpartition(".")
    if parent:
        __import__(parent)
        monkeypatch.delattr(sys.modules[parent], name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "dpone-airflow\[{extra}\]"'):
        client(**arguments)


@pytest.mark.parametrize("uri", ["nonsense", "s3://", "ftp://lake/x", "s3://lake/../x", ""])
def test_a_uri_that_is_none_is_refused_before_the_connection_is_looked_up(uri: str) -> None:
    with pytest.raises(InvalidUriError):
        ObjectStorageHook("no_such_connection").get_client(uri)


@pytest.mark.parametrize("uri", ALL_FORMS)
def test_an_unknown_storage_option_is_refused_by_the_emulator_too(connect: Connect, tmp_path: Path, uri: str) -> None:
    connect("mine", LOCAL, extra={"root_dir": str(tmp_path)})
    with pytest.raises(InvalidOptionError, match="'Colour'"):
        ObjectStorageHook("mine", {"Colour": "blue"}).get_client(uri)


# What uploads.

KEYS = {"login": "key", "password": "secret"}


@pytest.fixture
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what a developer or a CI has set out of what obstore could not honour."""
    for name in list(os.environ):
        if re.match(r"(?i)AWS_|AZURE_|BOTO_|SSL_CERT_|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|.*_proxy$", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def connected(connect: Connect, _plain_environment: None) -> None:
    """A connection to each cloud, called as its scheme."""
    connect("s3", "aws", **KEYS, extra={"region_name": "eu-north-1"})
    connect("gs", "google_cloud_platform", extra={"project": "p", "is_anonymous": True})
    connect("az", "wasb", login="account", password=AZURITE_KEY)


def uploader_of(uri: str, options: dict[str, Any] | None = None, **more: Any) -> Any:
    client: Any = ObjectStorageHook(uri.partition(":")[0], options, **more).get_client(uri)
    return client._uploader


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dpone_airflow.hooks.object_storage"]


# What obstore can't be trusted with, and what is said of it.
NOT_FOR_OBSTORE: list[Any] = [
    ("s3://lake/x", {"options": {"ACL": "private"}}, "the storage option ACL"),
    ("s3://lake/x", {"options": {"ExpectedBucketOwner": "123456789012"}}, "the storage option ExpectedBucketOwner"),
    ("s3://lake--euw1-az1--x-s3/x", {}, "S3 Express"),
    (
        "az://lake/x",
        {"store_check": False, "options": {"encryption_scope": "s"}},
        "the storage option encryption_scope",
    ),
    ("az://$web/x", {"store_check": False}, "a container of this name"),
]


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("uri", "more"),
    [
        ("s3://lake/x", {}),
        ("s3://lake/x", {"engine": "auto"}),
        ("s3://lake/x", {"engine": "obstore"}),
        ("s3://lake/x", {"store_check": False}),
        ("s3://lake/x", {"options": {"StorageClass": "STANDARD_IA", "Tagging": "team=data"}}),
        ("az://lake/x", {"store_check": False}),
        ("az://lake/x", {"store_check": False, "engine": "obstore"}),
        ("az://lake/x", {"store_check": False, "options": {"standard_blob_tier": "Cool", "tags": {"team": "data"}}}),
    ],
)
def test_obstore_uploads_where_it_honours_every_setting(
    caplog: pytest.LogCaptureFixture, uri: str, more: dict[str, Any]
) -> None:
    with caplog.at_level(logging.INFO):
        uploader = uploader_of(uri, **more)
    assert isinstance(uploader, ObstoreUploader)
    assert (uploader._bucket, lines(caplog)) == ("lake", [])
    options = more.get("options", {})
    tier = options.get("StorageClass", options.get("standard_blob_tier"))
    assert uploader._attributes == ({"Storage-Class": tier} if tier else {})
    assert uploader._tags == ({"team": "data"} if options else None)


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("store_check", [True, False])
def test_what_obstore_sends_is_checked_unless_the_check_is_off(store_check: bool) -> None:
    store = uploader_of("s3://lake/x", store_check=store_check)._store
    assert store.config.get("checksum_algorithm") == ("SHA256" if store_check else None)
    client: Any = ObjectStorageHook("s3", store_check=store_check).get_client("s3://lake/x")
    assert client._store_check is store_check


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("uri", ["gs://lake/x", "az://lake/x"])
def test_the_sdk_uploads_where_obstore_is_not_proven_or_not_checked(uri: str) -> None:
    assert uploader_of(uri) is None
    assert uploader_of(uri, engine="auto", store_check=True) is None


@pytest.mark.usefixtures("connected")
def test_gcs_is_the_sdks_without_a_check_too() -> None:
    assert uploader_of("gs://lake/x", store_check=False) is None


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("uri", ["s3://lake/x", "gs://lake/x", "az://lake/x"])
@pytest.mark.parametrize("store_check", [True, False])
def test_the_sdk_alone_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, uri: str, store_check: bool
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)  # it isn't even looked at
    with caplog.at_level(logging.INFO):
        assert uploader_of(uri, engine="sdk", store_check=store_check) is None
    assert lines(caplog) == []


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("uri", "more", "setting"), NOT_FOR_OBSTORE)
def test_auto_says_in_one_line_what_obstore_can_not_honour(
    connect: Connect, caplog: pytest.LogCaptureFixture, uri: str, more: dict[str, Any], setting: str
) -> None:
    with caplog.at_level(logging.INFO):
        assert uploader_of(uri, **more) is None
    (line,) = lines(caplog)
    assert setting in line
    assert line.endswith(f"so the SDK uploads to {uri}.")


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("uri", "more", "setting"),
    [
        *NOT_FOR_OBSTORE,
        ("gs://lake/x", {}, "GCS"),
        ("gs://lake/x", {"store_check": False}, "GCS"),
        ("az://lake/x", {}, "store_check=False"),
    ],
)
def test_obstore_by_name_is_an_error_that_names_what_it_can_not_honour(
    uri: str, more: dict[str, Any], setting: str
) -> None:
    with pytest.raises(EngineNotUsableError, match="engine='obstore' can't upload") as refused:
        uploader_of(uri, engine="obstore", **more)
    assert setting in str(refused.value)
    assert "Write engine='auto'" in str(refused.value)
    assert f"connection '{uri.partition(':')[0]}'" in str(refused.value)
    assert AZURITE_KEY not in str(refused.value)


@pytest.mark.usefixtures("_plain_environment")
@pytest.mark.parametrize("engine", ["auto", "obstore"])
def test_a_setting_of_the_connection_counts_as_an_option_does(
    connect: Connect, caplog: pytest.LogCaptureFixture, engine: Any
) -> None:
    connect("s3", "aws", **KEYS, extra={"region_name": "eu-north-1", "verify": "/etc/ssl/own-ca.pem"})
    with caplog.at_level(logging.INFO):
        if engine == "obstore":
            with pytest.raises(EngineNotUsableError, match="a CA bundle"):
                uploader_of("s3://lake/x", engine=engine)
        else:
            assert uploader_of("s3://lake/x", engine=engine) is None
    assert len(lines(caplog)) == (engine == "auto")
    assert "own-ca" not in caplog.text, "a setting is named and its value isn't told"


@pytest.mark.usefixtures("connected")
def test_an_error_for_a_default_connection_names_it(connect: Connect) -> None:
    connect("aws_default", "aws", **KEYS, extra={"region_name": "eu-north-1"})
    with pytest.raises(EngineNotUsableError, match="connection 'aws_default'"):
        ObjectStorageHook(None, {"ACL": "private"}, engine="obstore").get_client("s3://lake/x")


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("uri", "extra"), [("s3://lake/x", "s3"), ("az://lake/x", "azure")])
def test_without_obstore_the_sdk_uploads_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, uri: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with caplog.at_level(logging.INFO):
        assert uploader_of(uri, store_check=False) is None
    (line,) = lines(caplog)
    assert line == f"obstore isn't installed, so the SDK uploads to {uri}."
    with pytest.raises(MissingExtraError, match=rf'engine=\'obstore\' need.*pip install "dpone-airflow\[{extra}\]"'):
        uploader_of(uri, store_check=False, engine="obstore")


@pytest.mark.parametrize("engine", ["boto3", "", None, True, "AUTO", "obstore "])
def test_an_unknown_engine_is_refused_at_once(engine: Any) -> None:
    with pytest.raises(InvalidOptionError, match="engine is .*: write 'auto', 'obstore' or 'sdk'"):
        ObjectStorageHook("nowhere", engine=engine)


@pytest.mark.parametrize("value", [0, -1, True, False, "8", 8.0, None])
def test_an_impossible_max_concurrency_is_refused_at_once(value: Any) -> None:
    with pytest.raises(InvalidOptionError, match=re.escape(f"max_concurrency is {value!r}")):
        ObjectStorageHook("nowhere", max_concurrency=value)


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("max_concurrency", "size"), [(1, 10), (5, 10), (6, 12), (40, 80)])
def test_gcs_has_a_connection_for_every_thread(max_concurrency: int, size: int) -> None:
    client = ObjectStorageHook("gs", max_concurrency=max_concurrency).get_client("gs://lake/x")
    assert isinstance(client, GCSObjectStorageClient)
    assert client.max_concurrency == max_concurrency
    for url in ("https://storage.googleapis.com/x", "http://127.0.0.1:1/x"):
        assert client._gcs._http.get_adapter(url)._pool_maxsize == size


@pytest.mark.usefixtures("connected")
def test_gcs_keeps_the_adapter_that_brings_a_client_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    class MutualTls(HTTPAdapter):
        """As google-auth mounts one of its own."""

    made = GCSHook(gcp_conn_id="gs").get_conn()
    own = MutualTls()
    made._http.mount("https://", own)
    monkeypatch.setattr(GCSHook, "get_conn", lambda self: made)
    client: Any = ObjectStorageHook("gs").get_client("gs://lake/x")
    assert client._gcs._http.get_adapter("https://storage.googleapis.com/x") is own
    assert client._gcs._http.get_adapter("http://127.0.0.1:1/x")._pool_maxsize == 16


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(("max_concurrency", "size"), [(1, 10), (8, 16), (40, 80)])
def test_s3_has_two_connections_for_every_thread(max_concurrency: int, size: int) -> None:
    client: Any = ObjectStorageHook("s3", max_concurrency=max_concurrency).get_client("s3://lake/x")
    assert client._s3.meta.config.max_pool_connections == size


# The emulator's connection.


@pytest.mark.parametrize("extra", [{}, {"root_dir": ""}, {"root_dir": None}, {"root_dir": 7}, {"rootdir": "/x"}])
def test_a_connection_without_a_root_says_what_to_write(connect: Connect, extra: dict[str, Any]) -> None:
    connect("dpone_local_default", LOCAL, extra=extra)
    with pytest.raises(ConnectionMismatchError, match="'dpone_local_default' has no 'root_dir': write the directory"):
        LocalObjectStorageHook().get_conn()
    assert LocalObjectStorageHook().test_connection()[0] is False


def test_the_test_button_writes_reads_and_deletes(connect: Connect, tmp_path: Path) -> None:
    connect("mine", LOCAL, extra={"root_dir": str(tmp_path / "store")})
    worked, message = LocalObjectStorageHook("mine").test_connection()
    assert worked, message
    assert str(tmp_path / "store") in message
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_the_test_button_leaves_what_is_there_alone(connect: Connect, tmp_path: Path) -> None:
    connect("mine", LOCAL, extra={"root_dir": str(tmp_path)})
    client = LocalObjectStorageHook("mine").get_conn()
    uri = ObjectStorageUri.parse("s3://lake/object")
    client.put_bytes(b"x", uri)
    assert LocalObjectStorageHook("mine").test_connection()[0]
    assert client.get_bytes(uri) == b"x"


def test_the_test_button_names_a_root_that_can_not_be_one(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    connect("mine", LOCAL, extra={"root_dir": str(tmp_path / "file")})
    worked, message = LocalObjectStorageHook("mine").test_connection()
    assert not worked
    assert str(tmp_path / "file") in message
    assert message.endswith("A file lies where the emulator needs a folder: write another root_dir or URI.")
    assert message.count("Could not write") == 1, "once is enough"


# What Airflow is told of the package.


@pytest.fixture
def connection_type() -> dict[str, Any]:
    (only,) = get_provider_info()["connection-types"]
    return dict(only)


def test_airflow_finds_the_package_by_its_distribution_name() -> None:
    (entry,) = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("dpone")]
    assert entry.load() is get_provider_info
    assert entry.dist is not None
    assert get_provider_info()["package-name"] == entry.dist.name == "dpone-airflow"
    assert version("dpone-airflow") == __version__


def test_the_connection_type_is_the_hooks_own(connection_type: dict[str, Any]) -> None:
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    hook = getattr(__import__(module, fromlist=[name]), name)
    assert hook is LocalObjectStorageHook
    assert connection_type["connection-type"] == hook.conn_type == LOCAL
    assert connection_type["hook-name"] == hook.hook_name == "Local object storage (dpone)"
    assert "__" not in LOCAL, "Airflow takes two underscores for the start of a field's name"


def test_the_form_has_the_root_directory_and_a_placeholder_for_it(connection_type: dict[str, Any]) -> None:
    assert list(connection_type["conn-fields"]) == ["root_dir", "browse_url"]
    field = connection_type["conn-fields"]["root_dir"]
    assert field["label"] == "Root directory"
    assert field["schema"] == {"type": "string"}
    assert connection_type["conn-fields"]["browse_url"]["schema"] == {"type": ["string", "null"]}
    behaviour = connection_type["ui-field-behaviour"]
    assert set(behaviour) <= {"hidden-fields", "relabeling", "placeholders"}
    assert behaviour["placeholders"]["root_dir"].startswith("/")
    assert "port" not in behaviour["hidden-fields"], "the Test button of Airflow 3.3 posts it"


def test_the_provider_info_is_plain_json() -> None:
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


class Widget:
    """What the form of Airflow 2.11 is made of, as far as it matters here: it remembers its arguments."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments = arguments
        self.options = options


class Required(Widget):
    pass


@pytest.fixture
def _form_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for Flask-AppBuilder and WTForms, which only Airflow 2.11 brings."""
    modules = {
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {"BS3TextFieldWidget": Widget},
        "wtforms": {"StringField": Widget},
        "wtforms.validators": {"InputRequired": Required, "Optional": Widget},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("_form_library")
def test_the_form_of_2_11_has_the_same_fields(connection_type: dict[str, Any]) -> None:
    widgets = LocalObjectStorageHook.get_connection_form_widgets()
    assert list(widgets) == list(connection_type["conn-fields"])
    field = connection_type["conn-fields"]["root_dir"]
    assert widgets["root_dir"].arguments == (field["label"],)
    assert widgets["root_dir"].options["description"] == field["description"]
    (check,) = widgets["root_dir"].options["validators"]
    assert isinstance(check, Required), "it is required there, as by its schema here"
    (check,) = widgets["browse_url"].options["validators"]
    assert not isinstance(check, Required)


def test_the_form_of_2_11_behaves_the_same(connection_type: dict[str, Any]) -> None:
    behaviour = connection_type["ui-field-behaviour"]
    assert LocalObjectStorageHook.get_ui_field_behaviour() == {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def test_the_deployment_option_has_a_default_so_that_nobody_must_set_it() -> None:
    option = get_provider_info()["config"]["dpone"]["options"]["deployment"]
    assert (option["default"], option["type"]) == ("", "string")
