"""A path, a list, a glob or a directory becomes files with names, in an order that stays the same."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpone_airflow.staging.sources import find_sources
from dpone_airflow.storage.errors import (
    DuplicateFileNameError,
    InvalidInputError,
    NoFilesMatchedError,
    SourceFileError,
    SourceFileNotFoundError,
)

WriteFile = Callable[..., Path]


def names(files: Any) -> list[str]:
    return [source.file_name for source in find_sources(files)]


@pytest.fixture
def folder(write: WriteFile) -> Path:
    for name in ("b.csv", "a.csv", "notes.txt", "dt=2026-11-22/part-0.csv", "dt=2026-11-21/part-0.csv"):
        write(name)
    return write("a.csv").parent


def test_a_path_keeps_its_base_name(folder: Path) -> None:
    assert names(folder / "a.csv") == ["a.csv"]
    assert names(str(folder / "a.csv")) == ["a.csv"]
    assert find_sources(folder / "a.csv")[0].path == str(folder / "a.csv")


def test_a_list_keeps_its_order(folder: Path) -> None:
    assert names([folder / "b.csv", str(folder / "a.csv")]) == ["b.csv", "a.csv"]
    assert names(path for path in (folder / "b.csv", folder / "a.csv")) == ["b.csv", "a.csv"]


def test_a_directory_keeps_its_tree_sorted(folder: Path) -> None:
    tree = ["a.csv", "b.csv", "dt=2026-11-21/part-0.csv", "dt=2026-11-22/part-0.csv", "notes.txt"]
    assert names(folder) == tree
    assert names(f"{folder}/") == tree


def test_a_glob_is_sorted_and_keeps_the_tree_below_its_first_wildcard(folder: Path) -> None:
    assert names(f"{folder}/*.csv") == ["a.csv", "b.csv"]
    assert names(f"{folder}/dt=*/part-?.csv") == ["dt=2026-11-21/part-0.csv", "dt=2026-11-22/part-0.csv"]
    assert names(f"{folder}/dt=2026-11-22/*.csv") == ["part-0.csv"]
    assert names(f"{folder}/[ab].csv") == ["a.csv", "b.csv"]


def test_a_glob_leaves_hidden_files_out_as_a_shell_does_and_a_directory_keeps_all(
    folder: Path, write: WriteFile
) -> None:
    write(".hidden.csv")
    assert names(f"{folder}/*.csv") == ["a.csv", "b.csv"]
    assert ".hidden.csv" in names(folder)


@pytest.mark.parametrize("pattern", ["dt=*", "*", "**", "**/*"])
def test_a_directory_that_a_glob_matches_gives_no_hidden_files(folder: Path, write: WriteFile, pattern: str) -> None:
    without = sorted(names(f"{folder}/{pattern}"))
    for hidden in (".top.csv", "dt=2026-11-21/.part.tmp", "dt=2026-11-21/.work/part-9.csv"):
        write(hidden)
    assert sorted(names(f"{folder}/{pattern}")) == without
    assert "dt=2026-11-21/.work/part-9.csv" in names(folder)


def test_a_directory_that_a_glob_matches_keeps_its_tree(folder: Path) -> None:
    assert names(f"{folder}/dt=*") == ["dt=2026-11-21/part-0.csv", "dt=2026-11-22/part-0.csv"]


def test_two_stars_find_each_file_once(folder: Path) -> None:
    csv = ["a.csv", "b.csv", "dt=2026-11-21/part-0.csv", "dt=2026-11-22/part-0.csv"]
    assert names(f"{folder}/**/*.csv") == csv
    assert sorted(names(f"{folder}/**")) == [*csv, "notes.txt"]


def test_relative_paths_and_globs_are_below_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert names("*.csv") == ["a.csv", "b.csv"]
    assert names("./*.csv") == ["a.csv", "b.csv"]
    assert names("dt=2026-11-22") == ["part-0.csv"]
    assert names(".") == names(folder)


def test_a_file_whose_name_looks_like_a_glob_is_that_file(write: WriteFile) -> None:
    odd = write("part[1]*.csv")
    write("part1.csv")
    assert names(odd) == ["part[1]*.csv"]


def test_a_link_to_a_file_is_staged_under_its_own_name(folder: Path) -> None:
    (folder / "link.csv").symlink_to(folder / "a.csv")
    assert names(folder / "link.csv") == ["link.csv"]


@pytest.mark.parametrize("name", ["a+b=c%25.tsv", "with space.csv", "ünïcode 数据 🚀.csv", "-rf", "~", "$HOME.csv"])
def test_odd_names_stay_as_they_are(write: WriteFile, name: str) -> None:
    assert names(write(name)) == [name]
    assert names(write(name).parent) == [name]


def test_a_missing_file_names_the_host_and_says_that_disks_are_not_shared(tmp_path: Path) -> None:
    with pytest.raises(SourceFileNotFoundError) as refused:
        find_sources([tmp_path / "missing.csv"])
    assert "missing.csv" in str(refused.value)
    assert socket.gethostname() in str(refused.value)
    assert "Another worker's disk isn't this one's" in str(refused.value)


def test_a_link_to_nowhere_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceFileNotFoundError, match="link"):
        find_sources(tmp_path)


def test_nothing_to_stage_is_an_error_that_repeats_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for files in ([], tmp_path / "empty", f"{tmp_path}/*.csv", [f"{tmp_path}/*.csv", tmp_path / "empty"]):
        with pytest.raises(NoFilesMatchedError, match=r"No file to stage: files=\["):
            find_sources(files)
    with pytest.raises(NoFilesMatchedError, match=r"1\.csv.*2\.csv.*3\.csv', …\]"):
        find_sources([f"{tmp_path}/*{number}.csv" for number in (1, 2, 3, 4)])
    with pytest.raises(NoFilesMatchedError, match=r"1\.csv.*2\.csv.*3\.csv'\]"):
        find_sources([f"{tmp_path}/*{number}.csv" for number in (1, 2, 3)])


def test_a_fifo_is_refused_wherever_it_lies(folder: Path) -> None:
    os.mkfifo(folder / "fifo.csv")
    for files in (folder / "fifo.csv", folder, f"{folder}/*.csv"):
        with pytest.raises(SourceFileError, match=r"fifo\.csv is a FIFO"):
            find_sources(files)


def test_two_files_that_would_land_on_one_key_are_both_named(write: WriteFile) -> None:
    one, other = write("one/data.csv"), write("other/data.csv")
    with pytest.raises(DuplicateFileNameError) as refused:
        find_sources([one, other])
    assert str(one) in str(refused.value)
    assert str(other) in str(refused.value)
    assert "give the directory above them" in str(refused.value)
    assert names(one.parent.parent) == ["one/data.csv", "other/data.csv"]


def test_a_file_given_twice_is_an_error(write: WriteFile) -> None:
    with pytest.raises(DuplicateFileNameError, match=r"a\.csv"):
        find_sources([write("a.csv"), write("a.csv")])


def test_links_that_go_round_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "dt=2026-11-22" / "up").symlink_to(folder)
    with pytest.raises(SourceFileError, match="is a link to a directory that it lies in"):
        find_sources(folder)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(SourceFileError, match="can't be read"):
        find_sources(tmp_path)


@pytest.mark.parametrize("files", [[""], "", [None], [["a.csv"]], [7], b"a.csv", None, 7])
def test_what_is_no_path_is_refused(files: Any) -> None:
    with pytest.raises(InvalidInputError, match="files"):
        find_sources(files)


@pytest.mark.parametrize(
    "files", ["x" * 300, "y" * 5000, "a\0b.csv"], ids=["a long name", "a long path", "a NUL in the name"]
)
def test_what_no_disk_can_hold_is_refused(files: str) -> None:
    with pytest.raises(SourceFileError, match="can't be read"):
        find_sources(files)
