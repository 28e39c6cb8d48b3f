"""Build the sdist and the wheel and look at both: ``make package``.

What is built lies in ``.package/dist/`` afterwards. One line a check, and exit code 1 with what is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from time import monotonic
from zipfile import ZipFile

from tools import check_docs
from tools.processes import Stopped, exit_code, stopped_by_sigterm
from tools.wheel_extras import WrongPackageError, check_extras, run

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".package"
PINS = ROOT / "constraints" / "airflow-3.3.txt"
EXTRAS = {"s3", "gcp", "azure", "object_storage"}
ENTRY_POINTS = """\
[console_scripts]
dpone-airflow = dpone_airflow.cli.main:program

[airflow.plugins]
dpone = dpone_airflow.plugins.plugin:DponePlugin

[apache_airflow_provider]
provider_info = dpone_airflow.get_provider_info:get_provider_info
"""


def main() -> int:
    """Return 0 if what would be uploaded is as it should be."""
    began = monotonic()
    try:
        with stopped_by_sigterm():
            shutil.rmtree(WORK, ignore_errors=True)
            wheel, sdist = build()
            check_sdist(sdist)
            check_wheel(wheel)
            run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist])
            run([sys.executable, "-m", "check_wheel_contents", wheel])
            print("OK: twine check --strict and check-wheel-contents", flush=True)
            check_extras(wheel, WORK, PINS)
    except WrongPackageError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Stopped) as stopped:
        print("Stopped; what was started has ended.", file=sys.stderr)
        return exit_code(stopped)
    print(f"The package passed in {monotonic() - began:.0f} s: {wheel.relative_to(ROOT)}, {sdist.relative_to(ROOT)}")
    return 0


def build() -> tuple[Path, Path]:
    """Return the wheel and the sdist; the wheel is built twice, from the sdist and, by pip, from the repository."""
    dist, other = WORK / "dist", WORK / "from-the-repository"
    temporary = WORK / "temporary"  # what it makes besides, and leaves if it is stopped
    temporary.mkdir(parents=True)
    # What builds the package is pinned as well.
    pins = dict.fromkeys(["UV_CONSTRAINT", "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"], str(PINS))
    environment = {**os.environ, **pins, "TMPDIR": str(temporary)}
    run([sys.executable, "-m", "build", "--installer", "uv", "--outdir", dist, ROOT], environment=environment)
    by_pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*by_pip, "--wheel-dir", other, ROOT], environment=environment)
    [wheel], [sdist], [again] = dist.glob("*.whl"), dist.glob("*.tar.gz"), other.glob("*.whl")
    if wheel.read_bytes() != again.read_bytes():
        raise WrongPackageError(f"{wheel} is built from the sdist, and {again} from the repository: they differ.")
    print(f"OK: {wheel.name} is the same, byte for byte, from the sdist and from the repository", flush=True)
    return wheel, sdist


def check_sdist(sdist: Path) -> None:
    """Check that the sdist has each file of the repository, which has all that the Makefile's targets need."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    if not (ROOT / ".git").exists():
        print("NOT CHECKED: whether the sdist has all files, for this is no git repository")
        return
    listed = run(["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"])
    kept = {name for name in listed.splitlines() if (ROOT / name).is_file()}
    if packed != kept:
        raise WrongPackageError(f"The sdist lacks {sorted(kept - packed)} and has besides {sorted(packed - kept)}.")
    print(f"OK: {sdist.name} has the {len(packed)} files of the repository", flush=True)


def check_wheel(wheel: Path) -> None:
    """Check what the wheel has, and that it has nothing else."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [info] = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    package = ROOT / "dpone_airflow"
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.relative_to(ROOT).as_posix() for path in files}
    wanted |= {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    wanted |= {"dpone_airflow/py.typed", "dpone_airflow/staging/schemas/manifest-v1.schema.json"}
    if names != wanted:
        raise WrongPackageError(f"The wheel lacks {sorted(wanted - names)} and has besides {sorted(names - wanted)}.")
    if entry_points.split() != ENTRY_POINTS.split():
        raise WrongPackageError(f"The wheel's entry points are\n{entry_points}and not\n{ENTRY_POINTS}")
    check_metadata(metadata)
    print(f"OK: {wheel.name} has the package, its schema, py.typed and LICENSE, and no test", flush=True)


def check_metadata(metadata: Message) -> None:
    """Check what an index shows and what installers read."""
    extras = set(metadata.get_all("Provides-Extra", []))
    if extras != {extra.replace("_", "-") for extra in EXTRAS}:
        raise WrongPackageError(f"The wheel's extras are {sorted(extras)} and not {sorted(EXTRAS)}.")
    if metadata["License-Expression"] != "Apache-2.0" or metadata["Requires-Python"] != ">=3.11":
        raise WrongPackageError("The wheel's licence or its Requires-Python is not that of pyproject.toml.")
    description = str(metadata.get_payload())
    dead = [link["target"] for link in check_docs.links_in(description)]
    if dead or "# dpone-airflow" not in description:
        raise WrongPackageError(f"The wheel's long description is no README, or has links that are dead there: {dead}")


if __name__ == "__main__":
    sys.exit(main())
