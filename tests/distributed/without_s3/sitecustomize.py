"""Python as it is where the extra ``s3`` isn't installed: on the PYTHONPATH of a worker or a command.

The Amazon provider's description stays, since its entry point does, which is in no module.
"""

import sys

_HIDDEN = ("airflow.providers.amazon.aws", "boto3", "botocore", "obstore")


class _Hides:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in _HIDDEN or name.startswith(tuple(f"{hidden}." for hidden in _HIDDEN)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Hides)
