"""Every error is one of ours, is drawn in the tree of its module, and gives no secret away."""

from __future__ import annotations

import inspect
import re
import time
import traceback
from pathlib import Path

import pytest

import dpone_airflow
from dpone_airflow.storage import errors
from dpone_airflow.storage.errors import (
    DeleteIncompleteError,
    DponeAirflowError,
    MissingExtraError,
    StorageError,
    printable_cause,
    redact,
)
from dpone_airflow.storage.redaction import never_show, secrets_in


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Read the tree in the module's docstring: each class with its bases, as they are drawn."""
    above: list[str] = []
    tree: dict[str, tuple[str, ...]] = {}
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"    (?P<branch>[│├└─ ]*)(?P<name>\w+Error)(?: \(also (?P<also>\w+)\))?", line)
        if drawn:
            depth = len(drawn["branch"]) // 4
            base = above[depth - 1] if depth else "Exception"
            above[depth:] = [drawn["name"]]
            tree[drawn["name"]] = (base, drawn["also"]) if drawn["also"] else (base,)
    return tree


def real_tree() -> dict[str, tuple[str, ...]]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    return {kind.__name__: tuple(base.__name__ for base in kind.__bases__) for kind in classes}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert drawn_tree() == real_tree()
    assert len(real_tree()) > 20


def test_every_error_can_be_caught_as_one() -> None:
    assert all(issubclass(getattr(errors, name), DponeAirflowError) for name in real_tree())


def test_a_storage_error_says_where() -> None:
    assert StorageError("no", uri="s3://bucket/key").uri == "s3://bucket/key"
    assert StorageError("no").uri == ""


def test_an_incomplete_delete_says_what_is_left_and_why() -> None:
    error = DeleteIncompleteError("no", uri="s3://b/a", left={"s3://b/a": "AccessDenied"})
    assert error.left == {"s3://b/a": "AccessDenied"}
    assert DeleteIncompleteError("no").left == {}


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("gcp", "gs:// URIs")
    assert 'run pip install "dpone-airflow[gcp]"' in str(error)
    assert str(error).startswith("gs:// URIs need an extra")
    assert (error.extra, isinstance(error, ImportError)) == ("gcp", True)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://a.blob.core.windows.net/c/b?sv=2025&sig=hunter2%3D&se=1", "?sv=2025&sig=***&se=1"),
        ("GET /b?X-Amz-Date=1&X-Amz-Signature=hunter2&x=1", "X-Amz-Signature=***&x=1"),
        ("X-Amz-Security-Token=hunter2", "X-Amz-Security-Token=***"),
        ("X-Goog-Signature=hunter2", "X-Goog-Signature=***"),
        ("AccountName=a;AccountKey=hunter2==;EndpointSuffix=b", "AccountName=a;AccountKey=***;EndpointSuffix=b"),
        ("SharedAccessSignature=sv=1&sig=hunter2", "SharedAccessSignature=***&sig=***"),
        ("password: hunter2, user: x", "password: ***"),
        ("PASSWORD=hunter2", "PASSWORD=***"),
        ("the design of s3://bucket/signature.csv is fine", "the design of s3://bucket/signature.csv is fine"),
    ],
)
def test_signatures_keys_and_passwords_are_masked(text: str, masked: str) -> None:
    assert masked in redact(text)
    assert "hunter2" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "hunter2"}',
        "{'AccountKey': 'hunter2'}",
        "AccountKey='hunter2'",
        "aws_secret_access_key=hunter2",
        "AWSSecretAccessKey: hunter2",
        "AWS_SESSION_TOKEN=hunter2",
        "Authorization: Bearer hunter2",
        "Authorization: AWS4-HMAC-SHA256 Credential=key/20261122, SignedHeaders=host, Signature=hunter2",
        '{"authorization": "Bearer hunter2"}',
        "{'Authorization': ['Bearer hunter2']}",
        "[('x-amz-security-token', 'hunter2'), (b'authorization', b'Bearer hunter2')]",
        "headers were Bearer hunter2-hunter2",
        "401 for SharedKey account:hunter2hunter2=",
        "<SignatureProvided>hunter2</SignatureProvided>",
        "to=https%3A%2F%2Fhost%2Fc%3Fse%3D1%26sig%3Dhunter2%26sp%3Dr",
        r'{"extra": "{\"account_key\": \"hunter2\"}"}',
        "s3://key:hunter2@bucket/orders",
        "s3://AKIA1:hunter2/with/slashes@bucket",
        "proxy http://user:hunter2@proxy:3128 refused",
        "http://me:p@ss:hunter2@127.0.0.1:9 refused",
        "sftp://u:12345/hunter2@host/x",
        "-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2\n-----END PRIVATE KEY-----",
        r"{'private_key': '-----BEGIN RSA PRIVATE KEY-----\nhunter2\nhunter2'}",
        "assertion=hunter2&grant_type=jwt",
        "x-amz-server-side-encryption-customer-key: hunter2",
        "got ya29.hunter2hunter2",
        "got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodW50ZXIyIn0.hunter2",
    ],
)
def test_secrets_are_masked_however_they_are_written(text: str) -> None:
    assert "hunter2" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://127.0.0.1:9000/bucket/mail@2026.csv timed out",
        "http://localhost:9000 refused, ask ops@example",
        "s3://bucket/a:b@c.csv",
        "ExpiredToken: The provided token has expired",
        "SignatureDoesNotMatch: The request signature we calculated does not match",
        "Basic authentication isn't enough; a bearer token is needed",
        "ContinuationToken=abc&AWSAccessKeyId=AKIA1",
        "Could not list az://landing/orders: AuthorizationFailure: no right to do this.",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_value_that_is_known_for_a_secret_is_masked_wherever_and_however_it_stands() -> None:
    never_show(["s3cr3t/of+a=connection", "short"])
    for text in ("s3cr3t/of+a=connection", "s3cr3t%2Fof%2Ba%3Dconnection", "s3cr3t/of%2Ba%3Dconnection"):
        assert redact(f"the server saw {text}, it says") == "the server saw ***, it says"
    assert redact("in short") == "in short"


def test_what_is_known_takes_nothing_away_from_what_has_a_form() -> None:
    never_show(["-----BEGIN"])
    text = "key -----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY----- ends"
    assert redact(text) == "key *** ends"


def test_the_secrets_of_a_setting_are_found_by_name_and_by_form() -> None:
    setting = {
        "session_token": "one",
        "endpoint_url": "http://user:two@host",
        "connection_string": "AccountName=a;AccountKey=three==;EndpointSuffix=s",
        "sas": "https://host/?sv=1&sig=fo%2Fur",
        "keyfile_dict": '{"client_email": "a@b", "private_key": "five"}',
        "proxies": [{"password": "six"}],
        "region_name": "nothing",
    }
    assert set(secrets_in(setting)) == {"one", "two", "three==", "fo%2Fur", "fo/ur", "five", "six"}


def test_no_pattern_has_what_older_pythons_match_wrongly() -> None:
    """A possessive group that fails keeps what it has tried, up to Python 3.11.4: a secret stayed in the text."""
    for module in Path(dpone_airflow.__file__).parent.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"\)(?:[?*+]|\{[\d,]+\})\+|\(\?>", text), module.name


def test_masking_twice_changes_nothing_more() -> None:
    once = redact("sig=hunter2&AccountKey=hunter2;")
    assert redact(once) == once


@pytest.mark.parametrize(
    "filler",
    [
        *("-", "1", "_a", "a-", "secret-", "secret ", "sig=", "sig", '"sig" ', '"sig","', "\\\\", "%3D", "sig%3D"),
        *("bearer ", "eyJ", "eyJa.", "ya29.", "://", "://a:", "a:b", "-----BEGIN PRIVATE KEY-----", "<sig>", "[(", " "),
    ],
)
def test_a_long_message_is_masked_at_once(filler: str) -> None:
    """A store may answer with a page of text: masking it must not take longer than reading it."""
    text = filler * (20_000 // len(filler)) + "&AccountKey=hunter2"
    started = time.perf_counter()
    masked = redact(text)
    assert time.perf_counter() - started < 10, "quadratic, it takes minutes"
    assert "hunter2" not in masked


def chained(*links: BaseException) -> BaseException:
    """Return the last of some errors, each raised while the one before was handled."""
    last: BaseException | None = None
    for number, error in enumerate(links):
        if number % 2:
            error.__cause__ = last
        else:
            error.__context__ = last
        last = error
    assert last is not None
    return last


def test_a_cause_without_a_secret_may_be_printed() -> None:
    error = chained(ValueError("timeout"), ValueError("no route"), ValueError("no"))
    assert printable_cause(error) is error


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_cause_with_a_secret_anywhere_in_its_chain_is_not_printed(depth: int) -> None:
    links = [ValueError("timeout"), ValueError("no route"), ValueError("no")]
    links[depth] = ValueError("GET https://host/c?sig=hunter2")
    assert printable_cause(chained(*links)) is None


def test_a_cause_with_a_secret_in_a_note_or_a_group_is_not_printed() -> None:
    noted = ValueError("no")
    noted.add_note("sig=hunter2")
    assert printable_cause(noted) is None
    assert printable_cause(ExceptionGroup("several", [ValueError("one"), ValueError("sig=hunter2")])) is None
    hidden = ValueError("no")
    hidden.__cause__, hidden.__context__ = ValueError("why"), ValueError("sig=hunter2")
    assert printable_cause(hidden) is None


def test_a_chain_that_goes_round_in_a_circle_has_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert printable_cause(one) is one


def test_a_traceback_shows_no_secret_of_the_cause() -> None:
    def read() -> None:
        try:
            raise ValueError("GET https://host/c?sig=hunter2")
        except ValueError as error:
            raise StorageError("Could not read az://c/b.") from printable_cause(error)

    with pytest.raises(StorageError) as failed:
        read()
    printed = "".join(traceback.format_exception(failed.value))
    assert "Could not read az://c/b." in printed
    assert "hunter2" not in printed
