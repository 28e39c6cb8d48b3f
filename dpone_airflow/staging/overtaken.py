"""Whether somebody else has begun on a prefix since a stage, or a deletion, began its work there.

No store locks a prefix. So whoever begins leaves a record, and at the end another one: a later try of
the stage ``alive.json`` and ``manifest.json``, a deletion ``deleting.json`` and ``cleanup.json``. Each
looks at the records of the others first, then leaves its own, and looks again before it says that it
has succeeded. Of two that overlap at least one therefore sees the other, and fails; of two tries of
one stage the one that began first does.
"""

from __future__ import annotations

from dpone_airflow.staging.evidence import ClaimedRun, StagingEvidence
from dpone_airflow.storage.client import ObjectStorageClient, ObjectStorageObject
from dpone_airflow.storage.errors import OvertakenError, StorageError
from dpone_airflow.storage.uri import ObjectStorageUri

_Seen = dict[ObjectStorageUri, str | None]


class StageWatch:
    """Begins a try, and then tells whether it is overtaken.

    The first try of all leaves no record but its claim, which it has just made.

    :raises StorageError: if the store refuses or fails.
    """

    def __init__(self, client: ObjectStorageClient, run: ClaimedRun) -> None:
        self._client = client
        evidence = self._evidence = run.evidence
        # By folder, and whether this try can have made it: what is in a new one is nobody's.
        self._folders = {evidence.folder: run.is_new}
        self._of_tries = {evidence.alive_uri, evidence.manifest_uri}
        self._watched = {*self._of_tries, evidence.deleting_uri, evidence.cleanup_uri}
        if evidence.whole is not None:
            self._folders[evidence.whole.folder] = run.run_is_new
            self._watched |= {evidence.whole.deleting_uri, evidence.whole.cleanup_uri}
        #: Records that this try has sent to the store, which may have them though it didn't answer.
        self._sent: set[ObjectStorageUri] = set()
        self._seen = self._look(in_new_folders=False)
        if not run.is_new:
            self._seen[evidence.alive_uri] = evidence.write_alive()

    @property
    def own_records(self) -> list[ObjectStorageUri]:
        """What a stage that has succeeded may remove: its sign of life, and what a killed deletion left."""
        return [uri for uri in (self._evidence.alive_uri, self._evidence.deleting_uri) if uri in self._seen]

    def say_alive(self) -> None:
        """Tell the others that this try goes on.

        :raises OvertakenError: if it had better not.
        """
        self.check()
        alive = self._evidence.alive_uri
        self._sent.add(alive)
        self._seen[alive] = self._evidence.write_alive()
        self._sent.discard(alive)

    def writes(self, record: ObjectStorageUri) -> None:
        """Take what may be found of this record from now on for this try's own, until it is known to be written."""
        self._sent.add(record)

    def has_written(self, manifest: ObjectStorageObject) -> None:
        """Take the manifest that this try has recorded for its own."""
        self._seen[manifest.uri] = manifest.etag
        self._sent.discard(manifest.uri)

    def check(self) -> None:
        """Return while nobody else has begun.

        :raises OvertakenError: naming who has.
        :raises StorageError: if the store refuses or fails.
        """
        now = self._look()
        changed = {uri for uri in self._watched - self._sent if now.get(uri) != self._seen.get(uri)}
        # Who begins writes these. This try has removed the manifest of an earlier one, and an earlier one
        # that ends with success may remove a sign of life that has just become this try's.
        changed -= self._of_tries - now.keys()
        if not changed:
            return
        who = "a later try of this stage" if changed <= self._of_tries else "a cleanup or a sweep"
        raise OvertakenError(
            f"{self._evidence.prefix}/: {who} began there while this try was at work (see "
            f"{min(str(uri) for uri in changed)}). This try ends without a manifest: let the other one end, and run "
            "the stage again if it is still wanted."
        )

    def overtaken(self) -> OvertakenError | None:
        """Return what ``check`` would raise; None also where that can't be known."""
        try:
            self.check()
        except OvertakenError as error:
            return error
        except (StorageError, OSError):
            return None
        return None

    def _look(self, *, in_new_folders: bool = True) -> _Seen:
        return {
            item.uri: item.etag
            for folder, is_new in self._folders.items()
            if in_new_folders or not is_new
            for item in self._client.list_objects(folder)
            if item.uri in self._watched
        }


class DeletionWatch:
    """Begins a deletion, and then tells whether a stage has begun meanwhile.

    :raises StorageError: if the store refuses or fails.
    """

    def __init__(self, client: ObjectStorageClient, evidence: StagingEvidence) -> None:
        self._client = client
        self._evidence = evidence
        self._folder = evidence.folder if evidence.whole is not None else evidence.run_folder
        self._names = {uri.key.rpartition("/")[2] for uri in (evidence.manifest_uri, evidence.alive_uri)}
        self._seen = self._look()

    def begun(self) -> list[str]:
        """Return the records that stages have left since the deletion began."""
        now = self._look()
        return sorted(str(uri) for uri, etag in now.items() if self._seen.get(uri) != etag)

    def _look(self) -> _Seen:
        records = self._client.list_objects(self._folder)
        return {item.uri: item.etag for item in records if self._is_of_a_stage(item.uri)}

    def _is_of_a_stage(self, uri: ObjectStorageUri) -> bool:
        """Return whether a record is a manifest, a sign of life, or of a whole run the claim of a part."""
        folder, _, name = uri.key.rpartition("/")
        return name in self._names or (self._evidence.whole is None and folder == self._folder.key)
