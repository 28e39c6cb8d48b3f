"""The commands, described once for both ways to call them: ``dpone-airflow`` and, from Airflow 3.2, ``airflow dpone``.

Airflow reads this on every call of its own command line, so there is nothing here but the standard
library. What a command does is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument of a command, as ``argparse.ArgumentParser.add_argument`` takes it.

    :param flags: its names; a positional one has one without a dash.
    :param options: the keyword arguments.
    """

    flags: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the parsed arguments call it."""
        return self.flags[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Command:
    """A command.

    :param name: the word that calls it.
    :param help: one line, for the list of commands.
    :param description: what it does, for its own help.
    :param example: what follows the program's name in an example.
    :param function: ``module:function``, which takes the parsed arguments and the stream for what
        the command answers, and returns the exit code.
    :param arguments: what it takes.
    """

    name: str
    help: str
    description: str
    example: str
    function: str
    arguments: tuple[Argument, ...]

    def epilog(self, program: str) -> str:
        """Return the example, as the end of its help."""
        return f"example: {program} {self.name} {self.example}"


BASE_URI = Argument(
    ("base_uri",),
    {
        "metavar": "BASE_URI",
        "help": "what the stage was given: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "azure://account/container/prefix",
    },
)
CONN_ID = Argument(
    ("--conn-id",),
    {
        "metavar": "ID",
        "help": "the Airflow connection; by default aws_default, google_cloud_default or wasb_default, by BASE_URI",
    },
)
STORAGE_OPTIONS = Argument(
    ("--storage-options",),
    {
        "metavar": "JSON",
        "help": "what a connection can't hold, as the stage was given it: "
        '\'{"RequestPayer": "requester"}\' or \'{"user_project": "billed-project"}\'',
    },
)
# Airflow looks for an argument of this name, and then keeps its log lines out of what is printed.
OUTPUT = Argument(
    ("-o", "--output"),
    {"metavar": "FILE", "help": "where to write; a file that is there is replaced when the new one is complete"},
)
MANIFEST = Argument(
    ("manifest",),
    {
        "metavar": "MANIFEST",
        "nargs": "+",
        "help": "the URI of a stored manifest (BASE_URI/_manifests/RUN_ID/_run/manifest.json), a JSON file with what a "
        "stage task returned, or - to read that from stdin; several are the parts of one run",
    },
)
JSON = Argument(("--json",), {"action": "store_true", "help": "print JSON, whole"})
ALL = Argument(("--all",), {"action": "store_true", "help": "print every row; by default the first 50"})
YES = Argument(("--yes",), {"action": "store_true", "help": "do it; without, nothing is deleted or written"})
MAX_OBJECTS = Argument(
    ("--max-objects",), {"metavar": "N", "type": int, "help": "delete nothing if that would be more objects"}
)
MAX_BYTES = Argument(
    ("--max-bytes",), {"metavar": "N", "type": int, "help": "delete nothing if that would be more bytes"}
)
INCLUDE_RETAINED = Argument(
    ("--include-retained",), {"action": "store_true", "help": "also what was staged with cleanup_policy='retain'"}
)

COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="report",
            help="Show what became of each run of a base",
            description="Read the evidence below BASE_URI/_manifests/ and write one HTML page that needs no network: "
            "the runs with their age, files, bytes, policy and state, or one run with every object and its SHA-256.",
            example="s3://landing/orders --conn-id my_s3 -o report.html",
            function="dpone_airflow.cli.report:report",
            arguments=(
                BASE_URI,
                Argument(("--run",), {"metavar": "RUN_ID", "help": "one run, with its parts and objects"}),
                CONN_ID,
                STORAGE_OPTIONS,
                OUTPUT,
                Argument(
                    ("--json",),
                    {"action": "store_true", "help": "write JSON in place of the page; to the terminal without -o"},
                ),
            ),
        ),
        Command(
            name="runs",
            help="List the runs of a base",
            description="Read the evidence below BASE_URI/_manifests/ and print its runs, the newest first: state, age "
            "since it was staged, files, size, what no cleanup has deleted, policy, and who staged it.",
            example="s3://landing/orders --conn-id my_s3 --state staged --state failed --older-than 7d",
            function="dpone_airflow.cli.runs:runs",
            arguments=(
                BASE_URI,
                Argument(
                    ("--state",),
                    {
                        "metavar": "STATE",
                        "action": "append",
                        "help": "only runs in this state, or one of several: unreadable, verify_failed, "
                        "cleanup_incomplete, failed, being_staged, staged, verified or cleaned",
                    },
                ),
                Argument(
                    ("--older-than",),
                    {"metavar": "AGE", "help": "only runs of at least this age: 30d, 12h, 90m, or seconds"},
                ),
                CONN_ID,
                STORAGE_OPTIONS,
                JSON,
            ),
        ),
        Command(
            name="show",
            help="Print a manifest",
            description="Print what a manifest says: where the run lies, what it is, and every object with its size "
            "and SHA-256. The store is asked for nothing but a stored manifest.",
            example="s3://landing/orders/_manifests/run-1/_run/manifest.json --conn-id my_s3",
            function="dpone_airflow.cli.show:show",
            arguments=(MANIFEST, CONN_ID, STORAGE_OPTIONS, ALL, JSON),
        ),
        Command(
            name="verify",
            help="Compare the store with a manifest",
            description="Compare what lies in the store with a manifest, and print what is missing, extra or changed. "
            "Exit code 1 if anything is. The outcome is recorded in the run's evidence, with who looked.",
            example="s3://landing/orders/_manifests/run-1/_run/manifest.json --conn-id my_s3 --mode sha256",
            function="dpone_airflow.cli.verify:verify",
            arguments=(
                MANIFEST,
                Argument(
                    ("--mode",),
                    {
                        "choices": ("listing", "sha256"),
                        "default": "listing",
                        "help": "listing: names, sizes and ETags by one listing, the default; sha256: every byte is "
                        "read back as well",
                    },
                ),
                Argument(("--no-record",), {"action": "store_true", "help": "write nothing to the store"}),
                CONN_ID,
                STORAGE_OPTIONS,
                ALL,
                JSON,
            ),
        ),
        Command(
            name="cleanup",
            help="Delete what one run has staged",
            description="Print what a cleanup of the run would delete, and the line that does it; with --yes, delete "
            "it. Only what lies below BASE_URI/RUN_ID/, under a claim; a run with cleanup_policy='retain' is refused "
            "without --include-retained. The evidence stays and says who did it.",
            example="s3://landing/orders run-1 --conn-id my_s3 --max-objects 1000",
            function="dpone_airflow.cli.cleanup:cleanup",
            arguments=(
                BASE_URI,
                Argument(
                    ("run_id",),
                    {"metavar": "RUN_ID", "help": "as the manifest has it, or the text that the DAG gave as run_id"},
                ),
                Argument(("--part",), {"metavar": "PART", "help": "only this part of the run, e.g. map-00003"}),
                MAX_OBJECTS,
                MAX_BYTES,
                INCLUDE_RETAINED,
                CONN_ID,
                STORAGE_OPTIONS,
                ALL,
                YES,
                JSON,
            ),
        ),
        Command(
            name="sweep",
            help="Delete the old runs of a base",
            description="Print which runs of a base a sweep would delete, and the line that does it; with --yes, "
            "delete them. A run goes when its newest object and record are older than --older-than. Runs that are "
            "still written to never go, nor do prefixes that no claim names, nor, without --include-retained, runs "
            "with cleanup_policy='retain'.",
            example="s3://landing/orders --older-than 30d --conn-id my_s3 --max-runs 100",
            function="dpone_airflow.cli.sweep:sweep",
            arguments=(
                BASE_URI,
                Argument(
                    ("--older-than",),
                    {"metavar": "AGE", "required": True, "help": "30d, 12h, 90m, or seconds; an hour at least"},
                ),
                Argument(
                    ("--overdue-after",),
                    {
                        "metavar": "AGE",
                        "help": "runs with cleanup_policy='delete_always' that nobody cleaned up go from this age on",
                    },
                ),
                Argument(
                    ("--evidence-older-than",),
                    {"metavar": "AGE", "help": "also the evidence of runs without objects, from this age on"},
                ),
                INCLUDE_RETAINED,
                Argument(
                    ("--max-runs",), {"metavar": "N", "type": int, "help": "no more runs than this, oldest first"}
                ),
                Argument(("--max-objects",), {"metavar": "N", "type": int, "help": "no more objects than this in all"}),
                Argument(("--max-bytes",), {"metavar": "N", "type": int, "help": "no more bytes than this in all"}),
                Argument(
                    ("--allow-bucket-root",), {"action": "store_true", "help": "take a BASE_URI that is a whole bucket"}
                ),
                CONN_ID,
                STORAGE_OPTIONS,
                ALL,
                YES,
                JSON,
            ),
        ),
        Command(
            name="doctor",
            help="Find out why staging does not work, or what will go wrong",
            description="Try what staging does, on a sentinel below BASE_URI/_manifests/ that is removed again, and "
            "look at the bucket: one line a check, with cause and action where something is wrong. Some 32 MiB are "
            "uploaded. Exit code 1 if a check failed; a warning or a check that could not be made is no failure.",
            example="--base-uri s3://landing/orders --conn-id my_s3",
            function="dpone_airflow.cli.doctor:doctor",
            arguments=(
                Argument(("--base-uri",), {"required": True, **BASE_URI.options}),
                CONN_ID,
                STORAGE_OPTIONS,
                JSON,
            ),
        ),
        Command(
            name="lifecycle",
            help="Print the lifecycle rules that a base wants, or compare them with the bucket's",
            description="render prints JSON for 'aws s3api put-bucket-lifecycle-configuration "
            "--lifecycle-configuration', 'gcloud storage buckets update --lifecycle-file' or 'az storage account "
            "management-policy create --policy', by BASE_URI; each replaces all rules that are there. verify reads the "
            "bucket's rules, or those of a file, and says which are missing; exit code 1 if one is.",
            example="render s3://landing/orders --days 2 --version-days 7 > rules.json",
            function="dpone_airflow.cli.lifecycle:lifecycle",
            arguments=(
                Argument(("action",), {"metavar": "render|verify", "choices": ("render", "verify")}),
                BASE_URI,
                Argument(
                    ("--days",),
                    {
                        "metavar": "N",
                        "type": int,
                        "help": "abort unfinished uploads after so many days, more than any upload takes (S3 only); by "
                        "default 2, and for verify any number",
                    },
                ),
                Argument(
                    ("--version-days",),
                    {"metavar": "N", "type": int, "help": "drop older versions after so many days; by default no rule"},
                ),
                Argument(
                    ("--expire-days",),
                    {
                        "metavar": "N",
                        "type": int,
                        "help": "delete everything below BASE_URI after so many days, evidence and waiting runs too; "
                        "by default no rule",
                    },
                ),
                Argument(
                    ("--policy",),
                    {
                        "metavar": "FILE",
                        "help": "for verify: the rules are in this file, as the cloud's own command prints them; Azure "
                        "needs it",
                    },
                ),
                CONN_ID,
                STORAGE_OPTIONS,
                JSON,
            ),
        ),
    )
}
