"""The commands ``doctor`` and ``lifecycle``: what they print, how they end, and that no secret is in it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.cli.commands import COMMANDS
from dpone_airflow.cli.doctor import shown_checks
from dpone_airflow.cli.main import build_parser, main, run_command
from dpone_airflow.hooks import ObjectStorageHook
from dpone_airflow.staging.check import Check, Outcome
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.bucket_settings import BucketSettings, Unreadable

BASE = "s3://lake/staging"
DOCS = Path(__file__).parents[2] / "docs"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def terminal(emulator_connection: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are for a terminal that takes them, and nothing here says that it doesn't."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, arguments)])
        captured = capsys.readouterr()
        assert "verysecret" not in captured.out + captured.err
        assert "Traceback" not in captured.out
        return code, captured.out, captured.err

    return run


def has_rules(monkeypatch: pytest.MonkeyPatch, rules: Any) -> None:
    settings = BucketSettings(public=(), kept="", rules=rules)
    monkeypatch.setattr(LocalObjectStorageClient, "bucket_settings", lambda self, anywhere: settings)


# doctor


def test_all_is_well_is_exit_code_0_and_a_line_a_check(call: Call, client: LocalObjectStorageClient) -> None:
    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "emulator")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 17
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)? +ok  \S.*\.", line) for line in lines)
    assert lines[0].startswith("connection       ok  'emulator' is of type 'dpone_local_object_storage'")
    assert client.list_prefix(ObjectStorageUri.parse(BASE)) == []


def test_the_docs_explain_every_check(call: Call) -> None:
    _, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "emulator", "--json")
    docs = (DOCS / "doctor.md").read_text()
    for check in json.loads(out)["checks"]:
        assert f"`{check['name']}`" in docs


def test_a_failed_check_is_exit_code_1(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    extra = {"root_dir": str(tmp_path / "file")}
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({"conn_type": "dpone_local_object_storage", "extra": extra}))
    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "bad")
    assert code == 1
    assert re.search(r"^put +failed +Could not write", out, re.M)
    assert re.search(r"^ +cause: The emulator's directory can't be written", out, re.M)
    assert re.search(r"^ +do:    .*docs/runbook\.md#the-doctor-finds-something$", out, re.M)

    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "bad", "--json")
    told = json.loads(out)
    assert (code, told["outcome"], told["base_uri"]) == (1, "failed", BASE)
    assert set(told["checks"][0]) == {"name", "outcome", "detail", "cause", "action"}
    docs = (DOCS / "doctor.md").read_text()
    for key in {*told, *told["checks"][0]}:
        assert f"`{key}`" in docs


def test_warnings_and_what_is_unknown_are_no_failure(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    has_rules(monkeypatch, [])
    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "emulator", "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "warning")


def test_a_connection_that_is_not_there_is_a_finding(call: Call) -> None:
    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "nowhere")
    assert code == 1
    assert re.search(r"^connection +failed +.*nowhere", out)
    assert "the-connection-cant-be-made" in out


@pytest.mark.parametrize("arguments", [[], ["--base-uri"], [BASE]])
def test_a_doctor_without_a_base_is_bad_usage(call: Call, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("doctor", *arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("options", ["x", "[1]"])
def test_storage_options_must_be_an_object(call: Call, options: str) -> None:
    code, out, err = call("doctor", "--base-uri", BASE, "--conn-id", "emulator", "--storage-options", options)
    assert (code, out) == (2, "")
    assert "JSON object" in err


def test_an_option_that_is_not_on_the_list_is_a_finding(call: Call) -> None:
    code, out, _ = call("doctor", "--base-uri", BASE, "--conn-id", "emulator", "--storage-options", '{"x": 1}')
    assert code == 1
    assert re.search(r"^connection +failed +.*'x'", out)


def test_a_base_with_a_secret_is_refused_without_it(call: Call) -> None:
    code, out, err = call("doctor", "--base-uri", "az://c/p?sig=c2VjcmV0", "--conn-id", "emulator")
    assert (code, out) == (2, "")
    assert "c2VjcmV0" not in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    """Return what the doctor prints to one."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    args = build_parser().parse_args(["doctor", "--base-uri", BASE, "--conn-id", "emulator"])
    assert run_command(COMMANDS["doctor"], args) == 0
    return terminal.getvalue()


def test_a_terminal_gets_colours_and_lines_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    has_rules(monkeypatch, [])
    told = on_a_terminal(monkeypatch)
    assert "\x1b[32mok     \x1b[0m" in told
    assert "\x1b[33mwarning\x1b[0m" in told
    plain = re.sub(r"\x1b\[\d+m", "", told)
    # A word that is longer than that, such as the link, is left whole.
    assert all(len(line) <= 80 or "docs/runbook.md#" in line for line in plain.splitlines())
    assert re.search(r"^ {26}cause: A worker that is killed", plain, re.M)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_whoever_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in on_a_terminal(monkeypatch)


def test_what_a_store_answers_steers_no_terminal() -> None:
    check = Check("put", Outcome.FAILED, "\x1b[2J\u202etxt password=hunter2", "c", "a")
    told = "\n".join(shown_checks([check]))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "hunter2" not in told


# lifecycle


def test_rendered_rules_are_json_and_the_command_is_told_beside_them(call: Call) -> None:
    code, out, err = call("lifecycle", "render", BASE)
    assert code == 0
    assert json.loads(out) == {
        "Rules": [
            {
                "ID": "dpone-abort-unfinished-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": "staging/"},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
            }
        ]
    }
    assert "put-bucket-lifecycle-configuration --bucket lake --lifecycle-configuration file://rules.json" in err
    assert "replaces all rules" in err


def test_the_contract_shows_what_is_rendered(call: Call) -> None:
    _, out, _ = call("lifecycle", "render", "s3://landing/orders")
    assert f"```json\n{out}```" in (DOCS / "contract.md").read_text()


@pytest.mark.parametrize("base", ["gs://lake/staging", "az://lake/staging"])
def test_nothing_to_render_is_no_empty_set_of_rules(call: Call, base: str) -> None:
    code, out, err = call("lifecycle", "render", base)
    assert (code, out) == (2, "")
    assert "--version-days" in err


@pytest.mark.parametrize(
    ("base", "command"),
    [
        ("gs://lake/staging", "gcloud storage buckets update gs://lake --lifecycle-file=rules.json"),
        ("azure://mine/lake/staging", "management-policy create --account-name mine --resource-group GROUP"),
        ("az://lake/staging", "--account-name ACCOUNT"),
    ],
)
def test_each_cloud_has_its_command(call: Call, base: str, command: str) -> None:
    code, out, err = call("lifecycle", "render", base, "--expire-days", 30)
    assert code == 0
    assert json.loads(out)
    assert command in err
    help_text = COMMANDS["lifecycle"].description
    for words in ("put-bucket-lifecycle-configuration", "--lifecycle-file", "management-policy create"):
        assert words in help_text
        assert words in (DOCS / "lifecycle.md").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["render", "lake/staging"],
        ["render", BASE, "--days", 0],
        ["render", BASE, "--expire-days", -1],
        ["render", BASE, "--policy", "x"],
        ["render", "gs://lake/staging", "--days", 3],
        ["verify", "az://lake/staging", "--expire-days", 3],
    ],
)
def test_arguments_that_do_not_go_together_are_bad_usage(call: Call, arguments: list[str]) -> None:
    code, out, err = call("lifecycle", *arguments)
    assert (code, out) == (2, "")
    assert err.strip().splitlines()[-1].startswith("dpone-airflow lifecycle: ")


def test_what_is_rendered_verifies(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--days", 3, "--version-days", 7, "--expire-days", 30]
    _, out, _ = call("lifecycle", "render", BASE, *options)
    has_rules(monkeypatch, json.loads(out)["Rules"])
    code, out, _ = call("lifecycle", "verify", BASE, *options, "--conn-id", "emulator")
    assert code == 0
    assert len(re.findall(r" ok +rule 'dpone-", out)) == 3

    code, out, _ = call("lifecycle", "verify", BASE, "--days", 2, "--conn-id", "emulator")
    assert code == 1
    assert re.search(r"^abort unfinished uploads after 2 days +missing$", out, re.M)
    assert re.search(r"^delete everything +mind +rule 'dpone-delete-everything'.*evidence too$", out, re.M)
    assert f"lifecycle render {BASE}" in out


def test_a_bucket_without_rules_lacks_them(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    has_rules(monkeypatch, [])
    code, out, _ = call("lifecycle", "verify", BASE, "--conn-id", "emulator", "--json")
    rule = {"rule": "abort unfinished uploads", "state": "missing", "detail": ""}
    assert (code, json.loads(out)) == (1, {"base_uri": BASE, "rules": [rule]})


def test_rules_that_can_not_be_read_are_unknown_with_the_reason(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    has_rules(monkeypatch, Unreadable("It needs s3:GetLifecycleConfiguration.", "s3:GetLifecycleConfiguration"))
    code, out, _ = call("lifecycle", "verify", BASE, "--conn-id", "emulator")
    assert code == 1
    assert re.search(r"^abort unfinished uploads +unknown +It needs s3:GetLifecycleConfiguration\.$", out, re.M)


def test_azures_policy_comes_in_a_file(call: Call, tmp_path: Path) -> None:
    base = "azure://mine/lake/staging"
    _, out, _ = call("lifecycle", "render", base, "--expire-days", 30)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"policy": json.loads(out)}))
    code, out, _ = call("lifecycle", "verify", base, "--expire-days", 30, "--policy", policy)
    assert code == 0
    assert re.search(r"^abort unfinished uploads +ok +Azure drops", out, re.M)
    assert re.search(r"^delete everything after 30 days +ok +rule 'dpone-delete-everything'", out, re.M)
    assert call("lifecycle", "verify", base, "--expire-days", 29, "--policy", policy)[0] == 1
    assert call("lifecycle", "verify", "azure://mine/other/x", "--expire-days", 30, "--policy", policy)[0] == 1


@pytest.mark.parametrize(("text", "code"), [("{", 2), ("[]", 1), ("{}", 2), (None, 1)])
def test_a_policy_file_that_is_none_is_told_in_one_line(
    call: Call, tmp_path: Path, text: str | None, code: int
) -> None:
    policy = tmp_path / "policy.json"
    if text is not None:
        policy.write_text(text)
    found, out, err = call("lifecycle", "verify", BASE, "--policy", policy)
    assert found == code
    if text != "[]":
        assert out == ""
        assert "policy" in err.splitlines()[-1]


def test_gcs_needs_nothing_unless_it_is_asked_for(call: Call) -> None:
    code, out, _ = call("lifecycle", "verify", "gs://lake/staging", "--conn-id", "emulator")
    assert code == 0
    assert re.search(r"^abort unfinished uploads +ok +Google Cloud Storage drops", out, re.M)


@pytest.mark.parametrize("name", ["doctor", "lifecycle"])
def test_the_help_has_an_example_that_can_be_parsed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert f"example: dpone-airflow {name} " in " ".join(capsys.readouterr().out.split())
    words = COMMANDS[name].example.partition(" > ")[0].split()
    args = build_parser().parse_args([name, *words])
    assert args.base_uri == "s3://landing/orders"
    docs = (DOCS / f"{name}.md").read_text()
    for argument in COMMANDS[name].arguments:
        flag = argument.flags[-1]
        assert flag in docs or argument.name in ("action", "base_uri"), flag


def test_the_doctor_uploads_with_what_a_stage_would(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    engines: list[str] = []
    given = ObjectStorageHook.__init__

    def spy(self: ObjectStorageHook, *args: Any, **options: Any) -> None:
        engines.append(options["engine"])
        given(self, *args, **options)

    monkeypatch.setattr(ObjectStorageHook, "__init__", spy)
    call("doctor", "--base-uri", BASE, "--conn-id", "emulator")
    assert engines == ["auto"]
