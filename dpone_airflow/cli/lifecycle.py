"""``dpone-airflow lifecycle``: the rules that a base wants, as the cloud takes them; and whether it has them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from dpone_airflow.cli.main import UsageError
from dpone_airflow.cli.shown import printable
from dpone_airflow.cli.store import client_for
from dpone_airflow.cli.table import line, table
from dpone_airflow.staging.plan import base_of
from dpone_airflow.storage.bucket_settings import Rule, Unreadable
from dpone_airflow.storage.errors import InvalidOptionError
from dpone_airflow.storage.lifecycle import (
    BY_ITSELF,
    DEFAULT_ABORT_DAYS,
    Deed,
    Wanted,
    found_rules,
    rendered_rules,
    rule_for,
    rules_in,
    wanted_rules,
)
from dpone_airflow.storage.uri import ObjectStorageProvider, ObjectStorageUri

# What hands a file of rules to the store. Each replaces all rules that are there.
_PUT = {
    ObjectStorageProvider.S3: (
        "aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration file://rules.json"
    ),
    ObjectStorageProvider.GCS: "gcloud storage buckets update gs://{bucket} --lifecycle-file=rules.json",
    ObjectStorageProvider.AZURE_BLOB: (
        "az storage account management-policy create --account-name {account} --resource-group GROUP "
        "--policy @rules.json"
    ),
}
_SHOW_AZURE = "az storage account management-policy show --account-name {account} --resource-group GROUP > policy.json"


def lifecycle(args: argparse.Namespace, out: TextIO) -> int:
    """Render the rules, or compare them with the bucket's; return 1 if one is missing or can't be seen.

    :param args: action, base_uri, days, version_days, expire_days, policy, conn_id, storage_options and json.
    :raises UsageError: if there is nothing to render, or the arguments don't go together.
    :raises InvalidOptionError: for a number of days below 1, or a policy that isn't of the store's form.
    :raises DponeAirflowError: if URI, connection and options don't fit each other, or the store fails.
    :raises OSError: if the policy file can't be read.
    """
    base = base_of(args.base_uri)
    return _render(args, base, out) if args.action == "render" else _verify(args, base, out)


def _render(args: argparse.Namespace, base: ObjectStorageUri, out: TextIO) -> int:
    if args.policy is not None:
        raise UsageError("--policy is for verify; render reads nothing.")
    wanted = _wanted(args, base, DEFAULT_ABORT_DAYS if args.days is None else args.days)
    if not wanted:
        raise UsageError(
            f"there is nothing to render. {BY_ITSELF[base.provider]} For other rules add --version-days or "
            "--expire-days."
        )
    json.dump(rendered_rules(base, wanted), out, indent=2)
    out.write("\n")
    command = _PUT[base.provider].format(bucket=shlex.quote(base.bucket), account=base.account or "ACCOUNT")
    print(
        f"As rules.json, for: {command}\nThat replaces all rules that are there: put yours into the file as well.",
        file=sys.stderr,
    )
    return 0


def _verify(args: argparse.Namespace, base: ObjectStorageUri, out: TextIO) -> int:
    wanted = _wanted(args, base, args.days)
    rules = _rules(args, base, needed=bool(wanted))
    rows: list[tuple[str, str, str]] = []
    if isinstance(rules, Unreadable):
        rows += [(str(rule), "unknown", rules.reason) for rule in wanted]
    else:
        found = found_rules(base.provider, rules)
        for rule in wanted:
            has = rule_for(base, rule, found)
            rows.append((str(rule), "missing", "") if has is None else (str(rule), "ok", str(has)))
        if args.expire_days is None:
            expiring = [rule for rule in found if rule.deed is Deed.EXPIRE and rule.touches(base)]
            rows += [(str(rule.deed), "mind", f"{rule}, evidence too") for rule in expiring]
    by_itself = BY_ITSELF.get(base.provider)
    if by_itself is not None:
        rows.insert(0, (str(Deed.ABORT), "ok", by_itself))
    if args.json:
        told = [{"rule": rule, "state": state, "detail": printable(detail)} for rule, state, detail in rows]
        json.dump({"base_uri": str(base), "rules": told}, out, indent=1)
        out.write("\n")
    else:
        out.writelines(table(("rule", "state", "by"), rows))
        if any(state == "missing" for _, state, _ in rows):
            out.write(line(f"'lifecycle render {base}', with the same options, prints what is missing."))
    return 1 if any(state in ("missing", "unknown") for _, state, _ in rows) else 0


def _wanted(args: argparse.Namespace, base: ObjectStorageUri, abort_days: int | None) -> list[Wanted]:
    if args.days is not None and base.provider in BY_ITSELF:
        raise UsageError(f"--days is for S3. {BY_ITSELF[base.provider]}")
    return wanted_rules(base, abort_days=abort_days, version_days=args.version_days, expire_days=args.expire_days)


def _rules(args: argparse.Namespace, base: ObjectStorageUri, *, needed: bool) -> Sequence[Rule] | Unreadable:
    """Return the rules of a file, or else of the bucket."""
    if args.policy is not None:
        return rules_in(_json_of(Path(args.policy)))
    if base.provider is not ObjectStorageProvider.AZURE_BLOB:
        return client_for(args, str(base)).bucket_settings(base).rules
    if needed:
        show = _SHOW_AZURE.format(account=base.account or "ACCOUNT")
        raise UsageError(
            f"a connection to blobs can't read the account's management policy: run '{show}' and add "
            "--policy policy.json."
        )
    return ()


def _json_of(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidOptionError(f"{path} isn't JSON: {error}.") from error
