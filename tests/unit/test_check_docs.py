"""What ``make lint`` complains about in a page."""

from __future__ import annotations

import pytest

from tools import check_docs

PAGE = check_docs.ROOT / "docs" / "contract.md"


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```python\nload(manifest\n```", "this block is no python: '(' was never closed"),
        ("```python\nreturn 1\n```", "'return' outside function"),
        ('```json\n{"part": None}\n```', "this block is no json: Expecting value"),
        ("~~~json\n{\n~~~", "this block is no json"),
    ],
)
def test_a_block_that_is_not_what_it_says_is_found_by_its_line(block: str, complaint: str) -> None:
    (problem,) = check_docs.broken_blocks(PAGE, f"# A page\n\n{block}\n")
    assert problem.startswith("docs/contract.md:3: ")
    assert complaint in problem


@pytest.mark.parametrize(
    "block",
    ["```python\nload(manifest)\n```", '```json\n{"part": null}\n```', "```\nload(manifest\n```", "```python\n```"],
)
def test_a_block_that_is_what_it_says_is_no_problem(block: str) -> None:
    assert list(check_docs.broken_blocks(PAGE, f"{block}\n\n{block}\n")) == []


def test_a_block_that_is_shown_within_another_is_text() -> None:
    assert list(check_docs.broken_blocks(PAGE, "~~~\n```json\n{\n```\n~~~\n")) == []


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        ("[a](nowhere.md)", "nowhere.md leads to no file of this repository"),
        ("[a](../../elsewhere.md)", "../../elsewhere.md leads to no file of this repository"),
        ("[a](cleanup.md#nothing-of-the-kind)", "docs/cleanup.md has no heading for #nothing-of-the-kind"),
        ("[2] [3]", "no line says where [3] leads, or a comma is missing"),
        ("[a](#nothing-of-the-kind)", "docs/contract.md has no heading for #nothing-of-the-kind"),
    ],
)
def test_a_dead_link_is_found(link: str, complaint: str) -> None:
    (problem,) = check_docs.dead_links(PAGE, f"See {link}.\n")
    assert problem == f"docs/contract.md:1: {complaint}"


@pytest.mark.parametrize(
    "link",
    [
        "[a](cleanup.md#limits)",
        "[a](#limits)",
        "[a](../SECURITY.md)",
        "[a](https://example.org)",
        "`[a](b.md)`",
        "[a][b]\n\n[b]: https://example.org",
    ],
)
def test_a_link_that_leads_somewhere_and_one_in_code_are_no_problem(link: str) -> None:
    assert list(check_docs.dead_links(PAGE, f"See {link}.\n")) == []


def test_the_links_of_a_page_are_those_into_this_repository() -> None:
    text = "[a](cleanup.md) `[b](b.md)` [c](https://example.org) ![d](images/report.png)\n"
    assert [link["target"] for link in check_docs.links_in(text)] == ["cleanup.md", "images/report.png"]


def test_a_path_of_one_machine_is_found() -> None:
    (problem,) = check_docs.foreign_paths(PAGE, "It lies in /home/somebody/x.\n")
    assert problem == "docs/contract.md:1: /home/somebody is a path of one machine"
