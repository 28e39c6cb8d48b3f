"""The names that others may rely on: adding one is a decision, losing one breaks their DAGs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOADERS = "dpone_airflow.staging.loaders"
# The only list: docs/compatibility.md names the modules, and each page of the API reference shows __all__.
PUBLIC = {
    "dpone_airflow": ["__version__"],
    "dpone_airflow.operators": [
        "ObjectStorageStageOperator",
        "StagingCleanupOperator",
        "StagingSweepOperator",
        "StagingVerifyOperator",
    ],
    "dpone_airflow.decorators": ["StageFilesDecoratedOperator", "stage_files_task"],
    "dpone_airflow.hooks": ["LocalObjectStorageHook", "ObjectStorageHook"],
    "dpone_airflow.staging": [
        "CleanupPolicy",
        "CleanupReport",
        "ObjectStorageStagingManifest",
        "ObjectStorageStagingObject",
        "ObjectStorageStagingPlan",
        "ObjectStorageStagingService",
        "StagedRun",
        "StagingWriter",
        "SweepReport",
        "VerifyReport",
        "manifest_schema",
        "manifest_uri_of",
        "resolve_manifest",
        "sweep_base",
    ],
    "dpone_airflow.staging.loaders": ["bigquery", "clickhouse", "databricks", "duckdb", "redshift", "snowflake"],
    "dpone_airflow.staging.loaders.bigquery": [
        "MAX_URIS",
        "gcs_arguments",
        "load_job",
        "load_jobs",
        "source_uri_batches",
        "source_uris",
    ],
    "dpone_airflow.staging.loaders.clickhouse": ["MAX_NAMES", "Credentials", "table", "tables"],
    "dpone_airflow.staging.loaders.databricks": [
        "MAX_FILES",
        "copy_arguments",
        "copy_statements",
        "file_batches",
        "file_location",
        "files",
    ],
    "dpone_airflow.staging.loaders.duckdb": ["source", "uris"],
    "dpone_airflow.staging.loaders.redshift": [
        "copy_arguments",
        "copy_manifest",
        "copy_manifest_uri",
        "write_copy_manifest",
    ],
    "dpone_airflow.staging.loaders.snowflake": ["MAX_FILES", "file_batches", "files", "files_clause"],
    "dpone_airflow.storage": [
        "AzureBlobObjectStorageClient",
        "GCSObjectStorageClient",
        "LocalObjectStorageClient",
        "ObjectStorageClient",
        "ObjectStorageObject",
        "ObjectStorageProvider",
        "ObjectStorageUri",
        "RemoteFile",
        "S3ObjectStorageClient",
    ],
    "dpone_airflow.storage.errors": [
        "AlreadyStagedError",
        "BucketNotFoundError",
        "ChecksumMismatchError",
        "ClaimError",
        "ClaimNotFoundError",
        "ClaimedByAnotherWriterError",
        "ConnectionMismatchError",
        "DeleteIncompleteError",
        "DeletionLimitError",
        "DponeAirflowError",
        "DuplicateFileNameError",
        "EngineNotUsableError",
        "InvalidInputError",
        "InvalidManifestError",
        "InvalidOptionError",
        "InvalidPlanError",
        "InvalidUriError",
        "MissingExtraError",
        "NoFilesMatchedError",
        "NotLoadableError",
        "ObjectAlreadyExistsError",
        "ObjectNotFoundError",
        "OvertakenError",
        "PrefixMismatchError",
        "RetainedRunError",
        "SourceFileChangedError",
        "SourceFileError",
        "SourceFileNotFoundError",
        "StagingGraphError",
        "StagingStoppedError",
        "StagingVerifyError",
        "StorageAccessDeniedError",
        "StorageError",
        "SweepIncompleteError",
        "UnclaimedPrefixError",
    ],
}
# Names of templates: macros.dpone.<name>.
MACROS = "dpone_airflow.plugins.macros"
WITH_NAMES = [module for module in PUBLIC if module != LOADERS]
PACKAGES = ["dpone_airflow.operators", "dpone_airflow.decorators", "dpone_airflow.hooks"]
PACKAGES += ["dpone_airflow.staging", "dpone_airflow.storage"]


def offered(module: ModuleType) -> dict[str, Any]:
    return {name: getattr(module, name) for name in PUBLIC[module.__name__]}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_offers_just_these_names(name: str) -> None:
    assert import_module(name).__all__ == PUBLIC[name]


@pytest.mark.parametrize("name", WITH_NAMES)
def test_every_name_is_there_and_is_what_it_is_called(name: str) -> None:
    for offer, value in offered(import_module(name)).items():
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__name__ == offer
            assert value.__module__.startswith(name)


@pytest.mark.parametrize("name", WITH_NAMES)
def test_every_class_and_function_is_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    for offer, value in offered(module).items():
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{offer} has no docstring"


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unknown_name_is_an_attribute_error_as_ever(name: str) -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        import_module(name).Nonsense  # noqa: B018 - the look-up is what is tested


@pytest.mark.parametrize("name", PACKAGES)
def test_a_name_can_be_imported_whatever_was_imported_before(name: str) -> None:
    """A package gives its names out when they are asked for, and a module below it may be called like one."""
    code = f"import pkgutil, importlib, {name} as package\n"
    code += "for found in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
    code += "    importlib.import_module(found.name)\n"
    code += f"from {name} import {', '.join(PUBLIC[name])}\n"
    code += f"assert [each for each in ({', '.join(PUBLIC[name])},) if type(each).__name__ == 'module'] == []\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.startswith(f"{LOADERS}.")])
def test_a_loader_hides_what_it_does_not_offer(name: str) -> None:
    """What isn't offered begins with an underscore, or comes from elsewhere."""
    tree = ast.parse(Path(str(import_module(name).__file__)).read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    defined += [target.id for node in tree.body if isinstance(node, ast.Assign) for target in _names(node.targets)]
    defined += [target.id for node in tree.body if isinstance(node, ast.AnnAssign) for target in _names([node.target])]
    assert sorted(defined_name for defined_name in defined if not defined_name.startswith("_")) == sorted(PUBLIC[name])


def test_every_error_that_the_package_raises_is_public() -> None:
    errors = import_module("dpone_airflow.storage.errors")
    defined = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    classes = {name for name, value in defined.items() if value.__module__ == errors.__name__}
    assert sorted(classes) == sorted(PUBLIC["dpone_airflow.storage.errors"])
    others = subclasses(errors.DponeAirflowError) - set(defined.values())
    assert [cls for cls in others if cls.__module__.startswith("dpone_airflow.") and cls.__name__[0] != "_"] == []


def subclasses(cls: type) -> set[type]:
    direct = set(cls.__subclasses__())
    return direct.union(*map(subclasses, direct))


def test_no_other_module_says_that_it_offers_something() -> None:
    package = ROOT / "dpone_airflow"
    found = set()
    for path in package.rglob("*.py"):
        if re.search(r"^__all__ ", path.read_text(), re.M):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.add(name.removesuffix(".__init__"))
    assert found == {*PUBLIC, MACROS}


def test_the_compatibility_page_names_every_public_module() -> None:
    """Its table has a row for each."""
    page = (ROOT / "docs" / "compatibility.md").read_text()
    listed = re.findall(r"^\| `(dpone_airflow[\w.]*)` \|", page, re.M)
    assert listed == list(PUBLIC)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=str)
def test_pages_and_examples_import_public_names_only(page: Path) -> None:
    imports = re.findall(r"^\s*from (dpone_airflow[\w.]*) import (?:\(([^)]*)\)|([^\n(]+))", page.read_text(), re.M)
    for module, in_brackets, on_the_line in imports:
        for name in re.findall(r"\w+", in_brackets or on_the_line):
            assert is_public(module, name), f"from {module} import {name}"


@pytest.mark.parametrize("example", sorted((ROOT / "example_dags").glob("*.py")), ids=str)
def test_example_dags_import_public_names_only(example: Path) -> None:
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dpone_airflow"):
            for alias in node.names:
                assert is_public(str(node.module), alias.name), f"from {node.module} import {alias.name}"


def is_public(module: str, name: str) -> bool:
    return name in PUBLIC.get(module, [])


def _names(targets: list[ast.expr]) -> list[ast.Name]:
    return [target for target in targets if isinstance(target, ast.Name)]
