"""What is wrong with a docstring is told, and what is right isn't."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent

import pytest

from tools.check_docstrings import problems_of, public_modules

Check = Callable[[str], list[str]]


@pytest.fixture
def problems(tmp_path: Path) -> Check:
    def of(source: str) -> list[str]:
        path = tmp_path / "sample.py"
        path.write_text(
            "from dataclasses import dataclass\n"
            "from dpone_airflow.storage.client import BaseObjectStorageClient\n"
            "from dpone_airflow.storage.errors import ClaimError, InvalidOptionError, OvertakenError\n\n"
            f"{dedent(source)}"
        )
        spec = spec_from_file_location("sample", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return list(problems_of(module))

    return of


def test_what_is_documented_is_no_problem(problems: Check) -> None:
    found = problems('''
        class Thing:
            """A thing.

            :param size: in bytes.
            :raises InvalidOptionError: for a size below 0.
            """

            def __init__(self, size, **kwargs):
                if size < 0:
                    raise InvalidOptionError("size")

            @property
            def half(self):
                """Half the size, in bytes."""

            def take(self, count):
                """Take ``count`` of it.

                :raises ClaimError: if it isn't ours.
                :raises LookupError: if there aren't so many.
                :raises io.UnsupportedOperation: never.
                """
                raise OvertakenError("a kind of ClaimError")

            def _hidden(self, anything): ...


        def make(*args, size=1):
            """Make a thing.

            :param size: in bytes.
            """
    ''')
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def make(): ...", "sample.make: it has no docstring"),
        ("class Thing: ...", "sample.Thing: it has no docstring"),
        ("@dataclass\nclass Thing:\n    size: int", "sample.Thing: it has no docstring"),
        (
            'class Thing:\n    """A thing."""\n    def take(self): ...',
            "sample.Thing.take: it has no docstring",
        ),
        (
            'class Thing:\n    """A thing."""\n    @property\n    def half(self): ...',
            "sample.Thing.half: it has no docstring",
        ),
        (
            'def make(size):\n    """Make a thing of that size."""',
            "sample.make: the parameter 'size' isn't described",
        ),
        (
            'class Thing:\n    """A thing."""\n    def __init__(self, size): ...',
            "sample.Thing: the parameter 'size' isn't described",
        ),
        (
            '@dataclass\nclass Thing:\n    """A thing."""\n    size: int',
            "sample.Thing: the parameter 'size' isn't described",
        ),
        (
            'class Thing:\n    """A thing."""\n    @classmethod\n    def of(cls, text):\n        """Read a thing."""',
            "sample.Thing.of: the parameter 'text' isn't described",
        ),
        (
            'def make():\n    """Make a thing.\n\n    :param size: in bytes.\n    """',
            "sample.make: it has no parameter 'size', which is described",
        ),
        (
            'def make():\n    """Make a thing."""\n    raise ClaimError("ours?")',
            "sample.make: it raises ClaimError, which isn't described",
        ),
        (
            'def make():\n    """Make a thing.\n\n    :raises OvertakenError: if late.\n    """\n    raise ClaimError',
            "sample.make: it raises ClaimError, which isn't described",
        ),
        (
            '@dataclass\nclass Thing:\n    """A thing."""\n    def __post_init__(self):\n        raise ClaimError',
            "sample.Thing: it raises ClaimError, which isn't described",
        ),
        (
            'def make():\n    """Make a thing.\n\n    :raises ClaimsError: if not ours.\n    """',
            "sample.make: ':raises ClaimsError:' names no error",
        ),
        *(
            (
                f'def make():\n    """Make a thing.\n\n    :raises {name}: if not ours.\n    """',
                f"sample.make: ':raises {name}:' names no error",
            )
            for name in ("nothing.ThatThereIs", "io.Nothing", "io.", ".Nothing", "..Nothing")
        ),
        (
            'def make():\n    """Make a thing.\n\n    :raises: whatever.\n    """',
            "sample.make: ':raises :' names no error",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_told(problems: Check, source: str, expected: str) -> None:
    assert problems(source) == [expected]


def test_a_method_may_leave_its_parameters_to_its_class_and_a_docstring_to_what_it_overrides(problems: Check) -> None:
    found = problems('''
        class Thing:
            """A thing.

            :param size: in bytes.
            """

            def __init__(self, size): ...

            def grow(self, size):
                """Take that size."""


        class Other(Thing):
            """Another thing."""

            def grow(self, size): ...
    ''')
    assert found == []


def test_a_client_may_leave_its_docstrings_to_the_port_but_raises_only_what_the_port_tells(problems: Check) -> None:
    found = problems('''
        class Client(BaseObjectStorageClient):
            """A client."""

            def stat(self, uri):
                raise ClaimError("a store knows of no claims")

            def exists(self, uri): ...
    ''')
    assert found == ["sample.Client.stat: it raises ClaimError, which isn't described"]


def test_of_a_module_with_all_just_those_names_are_looked_at(problems: Check) -> None:
    assert problems('__all__ = []\n\ndef make(): ...\n\n__all__ += ["other"]\n\ndef other(): ...') == [
        "sample.other: it has no docstring"
    ]


def test_what_offers_names_is_looked_at_and_so_are_the_entry_points() -> None:
    found = public_modules()
    assert {"dpone_airflow.operators", "dpone_airflow.staging.loaders.redshift", "dpone_airflow.cli.main"} <= {*found}
    assert "dpone_airflow.storage.lanes" not in found
