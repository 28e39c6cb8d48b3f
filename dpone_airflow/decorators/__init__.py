"""Floor 4: ``@task.stage_files``, for a function that extracts what is then staged.

Airflow finds it by the provider's metadata, so that a DAG file imports nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpone_airflow.decorators.stage_files import StageFilesDecoratedOperator, stage_files_task

__all__ = ["StageFilesDecoratedOperator", "stage_files_task"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dpone_airflow.decorators import stage_files

        return getattr(stage_files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
