"""What the doctor sees of a bucket as a whole: public access, lifecycle rules, what deletes leave; and the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dpone_airflow.staging.check import Check, Outcome
from dpone_airflow.staging.likely_cause import RUNBOOK, runbook
from dpone_airflow.storage.bucket_settings import BucketSettings, Unreadable
from dpone_airflow.storage.client import ObjectStorageClient
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.lifecycle import BY_ITSELF, Deed, Wanted, found_rules, rule_for
from dpone_airflow.storage.uri import ObjectStorageUri

_GIB = 1024**3
# Below that the next extract may not fit.
_LITTLE_SPACE = _GIB
_NAMES = ("public access", "lifecycle", "versions")


def bucket_checks(client: ObjectStorageClient, base: ObjectStorageUri, *, not_run: str | None) -> list[Check]:
    """Return the checks of the bucket that holds a base.

    :param not_run: the check whose failure makes these pointless.
    """
    if not_run is not None:
        return [Check(name, Outcome.UNKNOWN, f"Not run, because {not_run} failed.") for name in _NAMES]
    settings = client.bucket_settings(base)
    is_emulator = _has_a_disk(client)
    return [_public(settings, is_emulator), _lifecycle(settings, base, is_emulator), _versions(settings, client, base)]


def _has_a_disk(client: ObjectStorageClient) -> bool:
    """Return whether the store is the emulator, whose disk can be asked how full it is, or refuses to say."""
    try:
        return client.free_bytes() is not None
    except OSError:
        return True  # the check of the disk tells why


def disk_check(client: ObjectStorageClient) -> Iterator[Check]:
    """Yield how much room the emulator has; nothing of another store."""
    try:
        free = client.free_bytes()
    except OSError as error:
        yield Check("disk", Outcome.UNKNOWN, f"The emulator's directory can't be looked at: {error.strerror}.")
        return
    if free is None:
        return
    detail = f"{free / _GIB:,.1f} GiB are free."
    if free >= _LITTLE_SPACE:
        yield Check("disk", Outcome.OK, detail)
    else:
        yield Check(
            "disk",
            Outcome.WARNING,
            detail,
            "The disk that holds the emulator's buckets is nearly full.",
            runbook("Make room, or sweep what nobody needs"),
        )


def _public(settings: BucketSettings, is_emulator: bool) -> Check:
    name = "public access"
    if isinstance(settings.public, Unreadable):
        return _unreadable(name, settings.public)
    if settings.public:
        return Check(
            name,
            Outcome.WARNING,
            f"The bucket is open to everybody, by {' and '.join(settings.public)}.",
            "Staged files are often whole tables; whoever knows the URI can read them, or list them.",
            runbook("Close the bucket, or stage to another one"),
        )
    if is_emulator:
        return Check(name, Outcome.OK, "The emulator's files are for whoever the file system lets read them.")
    return Check(name, Outcome.OK, "Nothing that can be seen here opens the bucket to everybody.")


def _lifecycle(settings: BucketSettings, base: ObjectStorageUri, is_emulator: bool) -> Check:
    name = "lifecycle"
    wanted = Wanted(Deed.ABORT, None)
    rules = settings.rules
    if isinstance(rules, Unreadable):
        if is_emulator:
            return Check(name, Outcome.OK, rules.reason)
        if base.provider in BY_ITSELF:
            return Check(name, Outcome.OK, f"{BY_ITSELF[base.provider]} Other rules can't be seen from here.")
        return _unreadable(name, rules)
    try:
        found = found_rules(base.provider, rules)
    except InvalidOptionError as error:
        return Check(name, Outcome.UNKNOWN, str(error))
    expiring = [rule for rule in found if rule.deed is Deed.EXPIRE and rule.touches(base)]
    also = "".join(f" Mind {rule}, staged files and evidence below the base among it." for rule in expiring)
    if base.provider in BY_ITSELF:
        return Check(name, Outcome.OK, f"{BY_ITSELF[base.provider]}{also}")
    rule = rule_for(base, wanted, found)
    if rule is not None:
        return Check(name, Outcome.OK, f"The bucket has {rule}.{also}")
    return Check(
        name,
        Outcome.WARNING,
        f"No rule aborts unfinished uploads below {base}.{also}",
        "A worker that is killed leaves parts behind; they are billed, and no listing of objects shows them.",
        runbook(f"Add what 'dpone-airflow lifecycle render {base}' prints", "unfinished-uploads-may-be-left"),
    )


def _versions(settings: BucketSettings, client: ObjectStorageClient, base: ObjectStorageUri) -> Check:
    name = "versions"
    kept = settings.kept
    if isinstance(kept, Unreadable):
        # The answers about the sentinel may have told it.
        if not client.keeps_versions(base):
            return _unreadable(name, kept)
        kept = "older versions"
    if not kept:
        return Check(name, Outcome.OK, "What is deleted is gone.")
    detail = f"Of what is deleted the bucket keeps {kept}."
    if settings.versioned and not isinstance(settings.rules, Unreadable):
        with suppress(InvalidOptionError):  # the check of the lifecycle tells
            rule = rule_for(base, Wanted(Deed.DROP_VERSIONS, None), found_rules(base.provider, settings.rules))
            if rule is None:
                return Check(
                    name,
                    Outcome.WARNING,
                    detail,
                    "No rule drops older versions below the base, so what is cleaned up is billed for good.",
                    runbook(f"Add what 'dpone-airflow lifecycle render {base} --version-days 7' prints"),
                )
            detail = f"{detail} The bucket has {rule}."
    return Check(name, Outcome.OK, detail)


def _unreadable(name: str, setting: Unreadable) -> Check:
    if setting.right:
        return Check(
            name,
            Outcome.UNKNOWN,
            setting.reason,
            f"The identity lacks the right {setting.right}, which staging doesn't need.",
            f"Grant it to be told, or leave it: {RUNBOOK}the-doctor-finds-something",
        )
    return Check(name, Outcome.UNKNOWN, setting.reason)
