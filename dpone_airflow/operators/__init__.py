"""Floor 4: what a DAG author writes."""

from dpone_airflow.operators.cleanup import StagingCleanupOperator
from dpone_airflow.operators.stage import ObjectStorageStageOperator
from dpone_airflow.operators.sweep import StagingSweepOperator
from dpone_airflow.operators.verify import StagingVerifyOperator

__all__ = [
    "ObjectStorageStageOperator",
    "StagingCleanupOperator",
    "StagingSweepOperator",
    "StagingVerifyOperator",
]
