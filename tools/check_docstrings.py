"""Check the docstrings of public names: ``python tools/check_docstrings.py``.

A public class, function, method or property has a docstring. It names every parameter, with ``:param name:`` or
in its sentences; a method may leave that to its class, and a method of a client to the port. A ``:param`` is one
of the signature. An error of ours that the body raises is under ``:raises``, itself or a class that it is one of.
One line a problem, and exit code 1.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from types import ModuleType
from typing import Any

from dpone_airflow.storage import errors
from dpone_airflow.storage.client import BaseObjectStorageClient, ObjectStorageClient

_PACKAGE = Path(errors.__file__).parent.parent
#: The console script, and what Airflow asks for: public without ``__all__``.
_ENTRY_POINTS = ("dpone_airflow.cli.main", "dpone_airflow.get_provider_info")
_ALL = re.compile(r"^__all__\b", re.M)
_PARAM = re.compile(r"^\s*:param (?P<name>[^:\n]*):", re.M)
_RAISES = re.compile(r"^\s*:raises\b ?(?P<names>[^:\n]*):", re.M)


def main() -> int:
    """Return 0 if every public name is documented."""
    with TemporaryDirectory(prefix="dpone-") as home:
        os.environ["AIRFLOW_HOME"] = home  # Airflow makes it when it is imported
        modules = [import_module(name) for name in public_modules()]
    problems = [problem for module in modules for problem in problems_of(module)]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"OK: the docstrings of {sum(len(public_names(module)) for module in modules)} public names.")
    return 1 if problems else 0


def public_modules() -> list[str]:
    """Return the modules that say what they offer, and the entry points."""
    paths = [path for path in sorted(_PACKAGE.rglob("*.py")) if _ALL.search(path.read_text(encoding="utf-8"))]
    parts = (path.relative_to(_PACKAGE.parent).with_suffix("").parts for path in paths)
    return [*(".".join(part).removesuffix(".__init__") for part in parts), *_ENTRY_POINTS]


def public_names(module: ModuleType) -> list[str]:
    """Return the classes and functions of ``__all__``, or else those that the module defines with a plain name."""
    defined = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    offered = getattr(module, "__all__", [name for name in defined if not name.startswith("_")])
    return [
        name for name in offered if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
    ]


def problems_of(module: ModuleType) -> Iterator[str]:
    """Yield what the docstrings of a module's public names lack."""
    for name in public_names(module):
        value, place = getattr(module, name), f"{module.__name__}.{name}"
        if inspect.isclass(value):
            yield from _class_problems(value, place)
        else:
            yield from _problems(place, _text(value.__doc__), "", [value], value)


def _class_problems(cls: type, place: str) -> Iterator[str]:
    text = _text(vars(cls).get("__doc__"))
    if is_dataclass(cls) and text.startswith(f"{cls.__name__}("):
        text = ""  # the one that is made of the fields
    own = [vars(cls)[name] for name in ("__init__", "__post_init__") if inspect.isfunction(vars(cls).get(name))]
    yield from _problems(place, text, "", own, cls.__init__ if own else None)
    for definer, name, method in _methods(cls):
        ports = [ObjectStorageClient] if issubclass(cls, BaseObjectStorageClient) else []
        texts = [_text(vars(base)[name].__doc__) for base in [*cls.__mro__, *ports] if name in vars(base)]
        said = next(filter(None, texts), "")
        of_class = _text(definer.__doc__)
        # What a method says by another class's words is checked there.
        has_own = bool(_text(method.__doc__))
        yield from _problems(f"{place}.{name}", said, of_class, [method], method if has_own else None)


def _methods(cls: type) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Yield each public method and property of a class that this package defines, with the class that does."""
    seen: set[str] = set()
    for definer in cls.__mro__:
        is_ours = definer.__module__.partition(".")[0] == cls.__module__.partition(".")[0]
        for name, value in vars(definer).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if is_ours and inspect.isfunction(function) and not name.startswith("_") and name not in seen:
                yield definer, name, function
        seen |= set(vars(definer))


def _problems(
    place: str, text: str, text_of_class: str, bodies: Iterable[Callable[..., Any]], signed: Any
) -> Iterator[str]:
    """Yield what a docstring lacks.

    :param bodies: the functions whose errors it tells.
    :param signed: the function whose parameters it tells; None if others tell them.
    """
    if not text:
        yield f"{place}: it has no docstring"
        return
    both = f"{text}\n{text_of_class}"
    if signed is not None:
        names = _parameters(signed)
        said = [found["name"] for found in _PARAM.finditer(text)]
        yield from (f"{place}: it has no parameter {name!r}, which is described" for name in said if name not in names)
        for name in sorted(names - {"args", "kwargs"}):
            if not re.search(rf":param {name}:|``{name}``", both):
                yield f"{place}: the parameter {name!r} isn't described"
    told = [name for found in _RAISES.finditer(both) for name in found["names"].split(", ")]
    known = vars(builtins) | {
        name: value for body in bodies for name, value in inspect.unwrap(body).__globals__.items()
    }
    kinds = {name: kind for name in told if (kind := _error(name, known)) is not None}
    yield from (f"{place}: ':raises {name}:' names no error" for name in told if name not in kinds)
    for name in sorted({name for body in bodies for name in _errors_raised(body)}):
        if not issubclass(getattr(errors, name), tuple(kinds.values())):
            yield f"{place}: it raises {name}, which isn't described"


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def _error(name: str, known: dict[str, Any]) -> type[BaseException] | None:
    """Return the error that a docstring means: ours, one that its module knows, or one of another module."""
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(errors, name, getattr(import_module(module), attribute, None) if module else known.get(name))
    except (ImportError, TypeError, ValueError):  # there is no such module, or that is no name of one
        return None
    return kind if inspect.isclass(kind) and issubclass(kind, BaseException) else None


def _errors_raised(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the names of our own errors that a function raises in its own words."""
    function = inspect.unwrap(function)
    if function.__code__.co_filename.startswith("<"):
        return  # made by dataclasses
    for node in ast.walk(ast.parse(dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and inspect.isclass(getattr(errors, raised.id, None)):
                yield raised.id


def _text(docstring: object) -> str:
    return inspect.cleandoc(docstring) if isinstance(docstring, str) else ""


if __name__ == "__main__":
    sys.exit(main())
