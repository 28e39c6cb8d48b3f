"""Python as it is where the extra ``s3`` isn't installed: on the PYTHONPATH of a worker or a command."""

import sys

_HIDDEN = ("airflow.providers.amazon", "boto3", "botocore", "obstore")


class _Hides:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in _HIDDEN or name.startswith(tuple(f"{hidden}." for hidden in _HIDDEN)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Hides)
