"""The command ``dpone-airflow report``: what it writes, how it ends, and that nothing of a record can harm."""

from __future__ import annotations

import html.parser
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.cli import report as report_module
from dpone_airflow.cli.commands import COMMANDS
from dpone_airflow.cli.main import build_parser, main
from dpone_airflow.staging import ObjectStorageStagingPlan, ObjectStorageStagingService, StagingWriter
from dpone_airflow.staging.actor import described
from dpone_airflow.staging.cleanup import clean_up_run
from dpone_airflow.staging.evidence import StagingEvidence, claim_run
from dpone_airflow.staging.manifest import ObjectStorageStagingManifest, ObjectStorageStagingObject
from dpone_airflow.storage import LocalObjectStorageClient, ObjectStorageUri
from dpone_airflow.storage.errors import StorageError

pytestmark = pytest.mark.usefixtures("emulator_connection")
BASE = "s3://lake/staging"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202etxt.exe\x00'
MakePlan = Callable[..., ObjectStorageStagingPlan]
WriteFile = Callable[..., Path]


@pytest.fixture
def staged(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile
) -> ObjectStorageStagingManifest:
    write("a.csv")
    service = ObjectStorageStagingService(client=client, writer=writer, by=described(writer, 1))
    return service.stage_files(make_plan(), str(write("b.csv", b"1234").parent))


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its texts, its elements, its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def run(*arguments: str | Path) -> int:
    return main(["report", BASE, "--conn-id", "emulator", *map(str, arguments)])


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run("--json", *arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_page_has_every_run_and_nothing_from_elsewhere(
    staged: ObjectStorageStagingManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-o", tmp_path / "report.html") == 0
    captured = capsys.readouterr()
    # Before that, Airflow 2.11 may log there what it thinks of its settings.
    assert (captured.out, captured.err.splitlines()[-1]) == ("", f"Wrote {tmp_path / 'report.html'}.")
    page = Page((tmp_path / "report.html").read_text())
    for text in ("run-1", "staged", "delete_on_success", "sales.orders · daily / stage", BASE, "Bytes staged per day"):
        assert text in page.texts
    fetched = [value for _, name, value in page.attributes if name in ("src", "href", "data", "action", "poster")]
    assert fetched == ["data:,"]
    assert [tag for tag in page.elements if tag in ("script", "style", "link", "iframe", "img")] == [
        "link",
        "style",
        "script",
    ]
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in str(value))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_of_one_run_has_every_object_with_its_digest(
    staged: ObjectStorageStagingManifest, tmp_path: Path
) -> None:
    assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
    page = Page((tmp_path / "run.html").read_text())
    for item in staged.objects:
        assert item.file_name in page.texts
        assert item.sha256 in page.texts
    assert {"daily", "manual__1", "stage", f"{BASE}/run-1/"} <= set(page.texts)


def test_a_table_says_what_its_cells_are_and_the_chart_what_it_shows(
    staged: ObjectStorageStagingManifest, tmp_path: Path
) -> None:
    run("-o", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    heads = [value for tag, name, value in page.attributes if tag == "th" and name == "scope"]
    assert page.elements.count("th") == len(heads)
    assert set(heads) == {"col", "row"}
    assert ("svg", "aria-labelledby", "chart-title chart-desc") in page.attributes
    assert ("desc", "id", "chart-desc") in page.attributes
    assert any(text.endswith("in 2 files") for text in page.texts)


def test_the_json_of_a_base_has_the_keys_that_the_docs_name(
    staged: ObjectStorageStagingManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys)
    (told,) = found["runs"]
    assert (found["report"], found["version"], found["base_uri"]) == ("runs", 1, BASE)
    assert found["totals"]["states"] == {"staged": 1}
    assert found["days"] == [
        {"day": told["staged_at"][:10], "files": 2, "size_bytes": staged.total_size_bytes},
    ]
    assert (told["run_id"], told["state"], told["files"], told["tries"]) == ("run-1", "staged", 2, 1)
    docs = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for key in {*found, *told, *found["totals"]}:
        assert f"`{key}`" in docs, f"docs/report.md doesn't name {key}"


def test_the_json_of_a_run_has_its_parts_and_objects(
    staged: ObjectStorageStagingManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, "--run", "run-1")
    assert [item["sha256"] for item in found["objects"]] == [item.sha256 for item in staged.objects]
    assert [item["uri"] for item in found["objects"]] == [item.uri for item in staged.objects]
    (part,) = found["run"]["parts"]
    assert found["unreadable"] == []
    docs = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for key in {*found, *found["run"], *part, *found["objects"][0]}:
        assert f"`{key}`" in docs, f"docs/report.md doesn't name {key}"


def test_every_state_is_explained_in_the_docs() -> None:
    from dpone_airflow.staging.runs import RunState

    docs = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for state in RunState:
        assert f"`{state}`" in docs


def test_a_run_may_be_named_as_the_dag_names_it(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, capsys: pytest.CaptureFixture[str]
) -> None:
    from dpone_airflow.staging.run_id import safe_run_id

    given = "manual__2026-11-22T08:00:00+00:00"
    claim_run(client, make_plan(run_id=safe_run_id(given)), writer)
    assert as_json(capsys, "--run", given)["run"]["run_id"] == safe_run_id(given)


def hostile_evidence(client: LocalObjectStorageClient) -> None:
    """Records that somebody with rights on the bucket wrote to harm who reads the report."""

    def put(name: str, record: dict[str, Any]) -> None:
        said = {"version": 1, "at": "2026-11-22T12:00:00+00:00"}
        uri = ObjectStorageUri.parse(f"{BASE}/_manifests")
        key = f"{uri.key}/{HOSTILE.replace('/', '_')}/{name}"
        place = ObjectStorageUri(uri.provider, uri.bucket, key)
        client.put_bytes(json.dumps(said | record).encode(), place)

    by = dict.fromkeys(("deployment", "dag_id", "dag_run_id", "task_id", "host"), HOSTILE)
    plan = dict.fromkeys(("dataset", "table", "file_format", "compression", "cleanup_policy"), HOSTILE)
    item = {"uri": HOSTILE, "file_name": HOSTILE, "size_bytes": 1, "sha256": HOSTILE, "etag": "\ud800"}
    put(
        "map'\"><script>alert(3)/manifest.json",
        {
            "kind": "manifest",
            "by": by | {"versions": {HOSTILE: HOSTILE}, "try_number": 1},
            "engine": HOSTILE,
            "engine_version": HOSTILE,
            "manifest": plan | {"object_count": 1, "total_size_bytes": 1, "objects": [item]},
        },
    )
    put("map-1/failed.json", {"kind": "failure", "error": HOSTILE, "message": HOSTILE})
    put("map-2/cleanup.json", {"kind": "cleanup", "outcome": "incomplete", "left": {HOSTILE: HOSTILE}})
    put("map-3/verify.json", {"kind": "verify", "outcome": "different", "extra": [HOSTILE]})
    put("map-4/manifest.json", {"kind": HOSTILE})


@pytest.mark.parametrize("one_run", [False, True])
def test_no_value_of_a_record_becomes_an_element_or_an_attribute(
    client: LocalObjectStorageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_run: bool
) -> None:
    hostile_evidence(client)
    name = HOSTILE.replace("/", "_")
    # Such a run id can't be given, but a listing can have it.
    monkeypatch.setattr(report_module, "check_run_id", lambda run_id: run_id)
    monkeypatch.setattr(report_module, "safe_run_id", lambda run_id: run_id)
    monkeypatch.setattr("dpone_airflow.staging.run_records.ObjectStorageUri.child", _any_child)
    assert run(*(["--run", name] if one_run else []), "-o", tmp_path / "page.html") == 0
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert "<img" not in text
    assert page.elements.count("script") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "\u202e" not in text
    assert "\x00" not in text
    assert any("<script>alert(1)" in shown for shown in page.texts), "it is shown as the text that it is"
    assert "\\u202e" in text


def _any_child(uri: ObjectStorageUri, name: str) -> ObjectStorageUri:
    return ObjectStorageUri(uri.provider, uri.bucket, f"{uri.prefix}{name}")


def test_json_holds_what_no_text_file_can(client: LocalObjectStorageClient, capsys: pytest.CaptureFixture[str]) -> None:
    hostile_evidence(client)
    (told,) = as_json(capsys)["runs"]
    assert told["run_id"] == HOSTILE.replace("/", "_")
    assert told["table"] == HOSTILE


def test_what_can_not_be_read_is_named_in_both(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = StagingEvidence(client, BASE, "run-2").manifest_uri
    client.put_bytes(b"no json", broken)
    assert run("-o", tmp_path / "report.html") == 0
    page = Page((tmp_path / "report.html").read_text())
    assert str(broken) in page.texts
    assert "unreadable" in page.texts
    capsys.readouterr()
    told = {each["run_id"]: each for each in as_json(capsys)["runs"]}
    assert told["run-1"]["state"] == "staged"
    assert told["run-2"]["unreadable"][0]["uri"] == str(broken)


def test_a_list_of_objects_that_breaks_off_says_so_in_both(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = StagingEvidence(client, BASE, "run-1").manifest_uri
    content = client.get_bytes(uri)
    # A small record is read whole, and is broken then. Of a larger one just the header is, and that isn't.
    client.put_bytes(content[: content.index(b'"b.csv"')] + b" " * 70_000, uri)
    assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
    page = Page((tmp_path / "run.html").read_text())
    assert "a.csv" in page.texts
    assert "The list isn't complete" in page.texts
    capsys.readouterr()
    found = as_json(capsys, "--run", "run-1")
    assert [item["file_name"] for item in found["objects"]] == ["a.csv"]
    assert found["unreadable"][0]["uri"] == str(uri)


def test_a_run_in_parts_shows_each_with_its_own_state(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, write: WriteFile, tmp_path: Path
) -> None:
    for index in range(3):
        service = ObjectStorageStagingService(client=client, writer=StagingWriter(task_id="stage", map_index=index))
        service._writer = StagingWriter(task_id="stage", map_index=index)
        service.stage_files(make_plan(part=f"map-0000{index}"), str(write("a.csv")))
    clean_up_run(client, BASE, "run-1", part="map-00002", policy="delete_always")
    assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
    page = Page((tmp_path / "run.html").read_text())
    for index in range(3):
        assert f"map-0000{index}" in page.texts
        assert f"map-0000{index}/a.csv" in page.texts
    assert page.texts.count("cleaned") == 1


@pytest.mark.parametrize(("counted", "says"), [({"left_objects": 5_000}, "5,000 left."), ({}, "at least ")])
def test_of_a_long_record_the_page_says_how_many_or_at_least_how_many(
    client: LocalObjectStorageClient,
    staged: ObjectStorageStagingManifest,
    tmp_path: Path,
    counted: dict[str, int],
    says: str,
) -> None:
    left = {f"{BASE}/run-1/{number:06d}.csv": "AccessDenied: locked" for number in range(5_000)}
    StagingEvidence(client, BASE, "run-1").write_cleanup({"outcome": "incomplete", **counted, "left": left})
    assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
    texts = Page((tmp_path / "run.html").read_text()).texts
    (told,) = [text for text in texts if text.endswith(" left.")]
    assert told.startswith(says)


def test_of_a_run_that_is_staged_again_the_steps_are_those_since(
    client: LocalObjectStorageClient,
    service: ObjectStorageStagingService,
    make_plan: MakePlan,
    write: WriteFile,
    tmp_path: Path,
) -> None:
    def steps() -> list[str]:
        assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
        texts = [text for text in Page((tmp_path / "run.html").read_text()).texts if text]
        return texts[texts.index("Claimed") :][:8]

    service.stage_files(make_plan(), str(write("a.csv")))
    assert steps()[-2:] == ["Cleaned up", "not yet"]
    clean_up_run(client, BASE, "run-1", policy="delete_always")
    assert steps()[-2] == "Cleaned up"
    assert steps()[-1] != "not yet"
    service.stage_files(make_plan(), str(write("a.csv")))
    assert steps()[-2:] == ["Cleaned up", "not yet"]


def test_an_empty_base_is_a_page_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-o", tmp_path / "report.html") == 0
    assert "Nothing is recorded here" in (tmp_path / "report.html").read_text()
    assert f"There are no records below {BASE}/_manifests/." in capsys.readouterr().err


def test_days_far_off_and_wrong_clocks_leave_a_chart_that_can_be_read(
    client: LocalObjectStorageClient, make_plan: MakePlan, tmp_path: Path
) -> None:
    from dpone_airflow.cli.shown import shown_day

    now = datetime.now(UTC)
    for number, at in enumerate(["0001-01-02T00:00:00+00:00", "9999-12-30T00:00:00+00:00", now.isoformat()]):
        record = {"version": 1, "at": at, "kind": "manifest", "manifest": {"object_count": 1, "total_size_bytes": 7}}
        client.put_bytes(json.dumps(record).encode(), StagingEvidence(client, BASE, f"run-{number}").manifest_uri)
    assert run("-o", tmp_path / "report.html") == 0
    text = (tmp_path / "report.html").read_text()
    assert text.count('class="bar"') == 1
    assert f"{shown_day(now)}: 7 B in 1 file" in text


@pytest.mark.parametrize(
    ("days_ago", "shown"), [([0], 14), ([0, 20], 21), ([0, 300], 60), ([100, 110], 14), ([70, 300], 60)]
)
def test_the_chart_shows_sixty_days_at_most_and_two_weeks_at_least(days_ago: list[int], shown: int) -> None:
    from dpone_airflow.cli.report_chart import days_to_show

    today = datetime(2026, 11, 22, tzinfo=UTC).date()
    days = {today - timedelta(days=ago): (1, 1) for ago in days_ago}
    found = days_to_show(days, today)
    assert len(found) == shown
    assert found[-1] == today - timedelta(days=min(days_ago))
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(found))


@pytest.mark.parametrize("most", [1, 2, 3, 5, 999, 1_023, 1_024, 1_500, 10**6, 123_456_789, 10**15, 2**62])
def test_the_scale_of_the_chart_reaches_the_highest_bar_and_not_far_beyond(most: int) -> None:
    from dpone_airflow.cli.report_chart import _scale

    step, ticks = _scale(most)
    assert 1 <= ticks <= 5
    assert most <= step * ticks < max(2 * most, most + step + 1)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (1024 * 1024 - 1, "1.0 MiB"), (5 * 1024**3 // 2, "2.5 GiB")],
)
def test_bytes_are_told_in_the_unit_they_are_best_read_in(size: int, text: str) -> None:
    from dpone_airflow.cli.shown import shown_bytes

    assert shown_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "just now"), (59, "just now"), (60, "1 min"), (7_300, "2 h"), (1_000_000, "11 days")]
)
def test_an_age_is_told_in_words(seconds: float, text: str) -> None:
    from dpone_airflow.cli.shown import shown_age

    assert shown_age(seconds) == text


def test_arguments_that_do_not_go_together_are_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert capsys.readouterr().err == (
        "dpone-airflow report: say where the page goes with -o report.html, or write --json.\n"
    )
    for arguments in ([], ["report"], ["unknown"], ["report", BASE, "--wrong"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["lake/staging", "--json", "--conn-id", "emulator"], "has no scheme that is known here", 2),
        (["s3://user:verysecret@lake/staging", "--json", "--conn-id", "emulator"], "***@lake", 2),
        ([f"{BASE}/_manifests/run-1", "--json", "--conn-id", "emulator"], "where the evidence is kept", 2),
        ([BASE, "--json", "--run", "..", "--conn-id", "emulator"], "run_id '..' can't be used", 2),
        ([BASE, "--json", "--run", "run-7", "--conn-id", "emulator"], "There are no records of a run 'run-7'", 1),
        ([BASE, "--json", "--conn-id", "nowhere"], "nowhere", 1),
    ],
)
def test_an_error_is_one_line_and_its_exit_code_tells_whether_an_argument_can_be_read(
    arguments: list[str], says: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("dpone-airflow report: ")
    assert says in line
    assert captured.err.count("dpone-airflow report: ") == 1
    assert "verysecret" not in captured.err


def test_a_file_that_can_not_be_written_is_one_line(
    staged: ObjectStorageStagingManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-o", tmp_path / "missing" / "report.html") == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert run("-o", tmp_path) == 1
    assert "Is a directory" in capsys.readouterr().err


def test_a_report_that_breaks_off_leaves_the_one_before(
    staged: ObjectStorageStagingManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: Any) -> Iterator[str]:
        yield "half"
        raise StorageError("The store is down.")

    (tmp_path / "report.html").write_text("the one before")
    monkeypatch.setattr(report_module, "runs_page", breaks_off)
    before = sorted(tmp_path.iterdir())
    assert run("-o", tmp_path / "report.html") == 1
    assert (tmp_path / "report.html").read_text() == "the one before"
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_is_written_to_and_not_replaced(staged: ObjectStorageStagingManifest, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert run("--json", "-o", pipe) == 0
    reader.join(30)
    assert json.loads(read[0])["report"] == "runs"
    assert pipe.is_fifo()


def test_a_hundred_thousand_objects_are_never_all_in_memory(
    client: LocalObjectStorageClient, make_plan: MakePlan, tmp_path: Path
) -> None:
    """Measured in a process of its own: what it takes for 100,000 rows is hardly more than for 1,000."""
    used = {}
    for count in (1_000, 100_000):
        run_id = f"run-{count}"
        objects = [
            ObjectStorageStagingObject(
                f"{BASE}/{run_id}/{number:06d}.csv", f"{number:06d}.csv", number, f"{number:064x}"
            )
            for number in range(count)
        ]
        manifest = ObjectStorageStagingManifest.of(make_plan(run_id=run_id), objects)
        StagingEvidence(client, BASE, run_id).write_manifest(manifest)
        page = tmp_path / f"{run_id}.html"
        program = (
            "import sys, tracemalloc\n"
            "from dpone_airflow.cli.main import main\n"
            "from dpone_airflow.cli import report\n"
            "tracemalloc.start()\n"
            f"code = main(['report', {BASE!r}, '--run', {run_id!r}, '--conn-id', 'emulator', '-o', {str(page)!r}])\n"
            "print(tracemalloc.get_traced_memory()[1])\n"
            "sys.exit(code)\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)
        used[count] = int(ended.stdout)
        with page.open() as file:
            assert sum('class="digest"' in line for line in file) == count
    # The emulator copies its files by 8 MiB. The rows are 20 MB of HTML, and the objects 90 MB in memory.
    assert used[100_000] < used[1_000] + 12_000_000


def test_ctrl_c_ends_with_130_and_no_traceback(
    staged: ObjectStorageStagingManifest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> Iterator[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(report_module, "runs_as_json", interrupted)
    assert run("--json") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_without_a_manifest_says_that_nothing_is_staged_yet(
    client: LocalObjectStorageClient, writer: StagingWriter, make_plan: MakePlan, tmp_path: Path
) -> None:
    claim_run(client, make_plan(), writer)
    assert run("-o", tmp_path / "report.html") == 0
    assert "Nothing is staged yet." in Page((tmp_path / "report.html").read_text()).texts
    assert run("--run", "run-1", "-o", tmp_path / "run.html") == 0
    texts = Page((tmp_path / "run.html").read_text()).texts
    assert "No manifest is recorded: nothing is staged yet, or the stage failed." in texts


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert f"example: dpone-airflow {name} " in shown
        assert command.description[:40] in shown
    build_parser().parse_args(["report", *COMMANDS["report"].example.split()])


def test_the_console_script_prints_json_and_nothing_else(
    staged: ObjectStorageStagingManifest, client: LocalObjectStorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "DEBUG")
    script = Path(sys.executable).with_name("dpone-airflow")
    command = [script, "report", BASE, "--conn-id", "emulator", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert json.loads(ended.stdout)["totals"]["runs"] == 1
    assert ended.stderr, "Airflow has logged, and not to stdout"
    assert "verysecret" not in ended.stdout + ended.stderr


def test_a_reader_that_has_seen_enough_gets_no_traceback(client: LocalObjectStorageClient, make_plan: MakePlan) -> None:
    objects = [
        ObjectStorageStagingObject(f"{BASE}/run-1/{number:06d}.csv", f"{number:06d}.csv", number, f"{number:064x}")
        for number in range(20_000)
    ]
    manifest = ObjectStorageStagingManifest.of(make_plan(), objects)
    StagingEvidence(client, BASE, "run-1").write_manifest(manifest)
    script = Path(sys.executable).with_name("dpone-airflow")
    command = f"{script} report {BASE} --conn-id emulator --json --run run-1 | head -1 | wc -l"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=240)
    assert ended.stdout.strip() == "1"
    assert "Traceback" not in ended.stderr
    assert "pipe" not in ended.stderr.lower()
