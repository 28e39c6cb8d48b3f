"""What a killed try left of its uploads in parts: billed by S3, and in no listing of objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

import logging

from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import StorageError
from dpone_airflow.storage.uri import ObjectStorageUri

log = logging.getLogger(__name__)


def abort_stale_uploads(client: ObjectStorageClient, prefix: ObjectStorageUri) -> int:
    """Abort unfinished uploads below ``prefix`` and return how many; where that can't be done, log it and go on.

    Only under the writer's own claim, and while nothing of it is being uploaded.
    """
    try:
        aborted = client.abort_uploads(prefix)
    except StorageError as error:
        # They are no objects: no loader meets them, and a lifecycle rule removes them as well.
        log.warning(
            "Unfinished uploads below %s/ may be left, give the bucket a lifecycle rule for them: %s", prefix, error
        )
        return 0
    if aborted:
        log.info("Aborted %d unfinished uploads below %s/ that an earlier try left.", aborted, prefix)
    return aborted
