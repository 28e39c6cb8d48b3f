"""Install Azurite with the Node of this environment: ``python -m local_servers.install_azurite``.

The one server that no wheel brings. The versions of all its packages and their checksums are in
``azurite/package-lock.json``; which registry they come from is npm's own configuration.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local_servers import programs
from local_servers.azurite import INSTALLATION, MANIFEST, installed_version, wanted_version


def install(installation: Path) -> None:
    """Put the pinned version there; nothing is done when it is there already."""
    version = wanted_version()
    if installed_version(installation) == version:
        print(f"Azurite {version} is in {installation}", flush=True)
        return
    print(f"Installing Azurite {version} into {installation} ...", flush=True)
    installation.mkdir(parents=True, exist_ok=True)
    for source in (MANIFEST, MANIFEST.with_name("package-lock.json")):
        shutil.copyfile(source, installation / source.name)
    search = os.pathsep.join([str(programs.node().parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [*programs.npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=installation,
        env={**os.environ, "PATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # errors go to stderr, which is left alone
        check=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and install."""
    parser = argparse.ArgumentParser(prog="install_azurite", description="Install Azurite.")
    parser.add_argument("directory", nargs="?", type=Path, default=INSTALLATION)
    installation = parser.parse_args(arguments).directory.resolve()
    try:
        install(installation)
    except subprocess.CalledProcessError as error:
        print(f"npm ended with status {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
