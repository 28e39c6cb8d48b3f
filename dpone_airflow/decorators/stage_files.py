"""``@task.stage_files``: a function that extracts, and an operator that stages what it extracts, in one task.

Both run on the same worker, so the disk is the same one. What a generator yields is uploaded while it
goes on extracting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Context, DecoratedOperator, task_decorator_factory

from dpone_airflow.operators.stage import ObjectStorageStageOperator
from dpone_airflow.staging.choices import check_count
from dpone_airflow.storage.errors import InvalidInputError

if TYPE_CHECKING:
    from dpone_airflow.staging.plan import ObjectStorageStagingPlan
    from dpone_airflow.staging.service import StagedRun, StageOptions

_STAGING_DIR = "staging_dir"


class StageFilesDecoratedOperator(DecoratedOperator, ObjectStorageStageOperator):
    """Stage the paths that a function returns or yields; the task's output is the manifest.

    The function returns a path, a glob, a directory, or a list of them; or it is a generator of them. A
    generator runs ahead of its uploads as far as ``max_pending_files`` and ``max_pending_bytes`` let it.
    When an upload fails it is closed at its next ``yield``: its ``finally`` and ``with`` blocks run. When it
    fails itself, nothing is recorded as staged, and the next try keeps what is there already.

    A parameter ``staging_dir`` that the caller gives no value is given a fresh directory, as a text, which
    is removed when everything is staged.

    .. seealso:: ``docs/operators/stage_files.md``

    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/taskflow.html

    :param python_callable: the function, which isn't async. Parameters that bear the name of a variable of Airflow's
        context are given it.
    :param op_args: its positional arguments; None for none. (templated)
    :param op_kwargs: its keyword arguments, by name; None for none. (templated)
    :param delete_local: whether a file is removed once it is staged.
    :param max_pending_files: how many files may be yielded and not staged yet, from 1.
    :param max_pending_bytes: and how many bytes, from 1, by default 1 GiB; a file that is larger goes alone.
    :param kwargs: what ``ObjectStorageStageOperator`` takes, but ``files``.
    :raises InvalidInputError: at DAG parse, for an async function.
    :raises InvalidPlanError: at DAG parse, for an unknown ``cleanup_policy``.
    :raises InvalidOptionError: at DAG parse, as ``ObjectStorageStageOperator``, and for a bound below 1.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in ObjectStorageStageOperator.template_fields if name != "files"),
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own form
        **DecoratedOperator.template_fields_renderers,
        "storage_options": "json",
    }
    op_kwargs: Mapping[str, Any]
    custom_operator_name = "@task.stage_files"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        delete_local: bool = False,
        max_pending_files: int = 32,
        max_pending_bytes: int = 1024**3,
        **kwargs: Any,
    ) -> None:
        if inspect.iscoroutinefunction(python_callable) or inspect.isasyncgenfunction(python_callable):
            raise InvalidInputError(
                f"{python_callable.__name__} is async, and @task.stage_files takes a plain function or generator: "
                "write def, and run asyncio inside of it."
            )
        check_count("max_pending_files", max_pending_files, at_least=1)
        check_count("max_pending_bytes", max_pending_bytes, at_least=1)
        self._gives_staging_dir = _wants_staging_dir(python_callable, op_args or (), op_kwargs or {})
        if self._gives_staging_dir:  # Airflow checks now that every parameter has a value
            op_kwargs = {**(op_kwargs or {}), _STAGING_DIR: None}
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            kwargs_to_upstream={"files": ()},
            **kwargs,
        )
        self.delete_local = delete_local
        self.max_pending_files = max_pending_files
        self.max_pending_bytes = max_pending_bytes

    def xcom_push(self, context: Context, key: str, value: Any) -> None:
        """Push an XCom; ``DecoratedOperator`` of Airflow 3.0 asks for this method, which its operators lack.

        :param context: Airflow's context of the running task.
        :param key: the XCom's key.
        :param value: its value, plain JSON.
        """
        context["ti"].xcom_push(key=key, value=value)

    def _stage(self, context: Context, plan: ObjectStorageStagingPlan) -> StagedRun:
        with ExitStack() as until_staged:
            if self._gives_staging_dir:
                folder = until_staged.enter_context(TemporaryDirectory(prefix=f"{self.task_id[-40:]}-"))
                self.op_kwargs = {**self.op_kwargs, _STAGING_DIR: folder}
            return super()._stage(context, plan)

    def _files_to_stage(self, context: Context) -> Any:
        from airflow.providers.common.compat.sdk import determine_kwargs

        given: Mapping[str, Any] = {**context, **self.op_kwargs}
        # Airflow 2.11 takes what goes into *args for the parameters behind it.
        named = list(self.op_args)[: _count_before_star(self.python_callable)]
        found = self.python_callable(*self.op_args, **determine_kwargs(self.python_callable, named, given))
        if isinstance(found, Iterator):
            return self._as_they_come(found)
        return self._all_of(found)

    def _as_they_come(self, files: Iterator[Any]) -> Iterator[Any]:
        try:
            for item in files:
                yield self._with_remote_ones(self._entries_of(item))
        finally:
            if isinstance(files, Generator):
                files.close()

    def _stage_options(self) -> StageOptions:
        from dpone_airflow.staging.backlog import Backlog

        return {
            **super()._stage_options(),
            "delete_local": self.delete_local,
            "backlog": Backlog(self.max_pending_files, self.max_pending_bytes),
        }


def stage_files_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Turn a function into a task that stages the files it returns or yields; ``@task.stage_files`` is this.

    :param python_callable: the function; None where the decorator is given arguments first, as usual.
    :param kwargs: the arguments of ``StageFilesDecoratedOperator``, and with it of ``ObjectStorageStageOperator``, but
        ``files``.
    :returns: what makes a task when it is called in a DAG; the call's value is the manifest, see
        ``ObjectStorageStageOperator.execute``.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=StageFilesDecoratedOperator,
        **kwargs,
    )


def _count_before_star(python_callable: Callable[..., Any]) -> int:
    """Return how many parameters take an argument by its place, each one."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(python_callable).parameters.values())


def _wants_staging_dir(
    python_callable: Callable[..., Any], op_args: Collection[Any], op_kwargs: Mapping[str, Any]
) -> bool:
    """Return whether the function has a parameter ``staging_dir`` that its caller leaves to us."""
    parameters = inspect.signature(python_callable).parameters
    if _STAGING_DIR not in parameters or op_kwargs.get(_STAGING_DIR) is not None:
        return False
    by_name_only = parameters[_STAGING_DIR].kind is inspect.Parameter.KEYWORD_ONLY
    return by_name_only or list(parameters).index(_STAGING_DIR) >= len(op_args)
