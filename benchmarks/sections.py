"""What is measured: sections, each of servers, workloads and peers, in rounds that go through the peers by turns."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import Workload, warm
from benchmarks.figures import Record
from benchmarks.measure import MeasurementError, UnavailableError, measure
from benchmarks.peers import DPONE, PEERS, SHA256, Job, dpone_is_there
from benchmarks.servers import LABELS, PROVIDERS, SERVERS


@dataclass(frozen=True)
class Sizes:
    """How much of everything: all of it, or enough to see that it runs.

    :param slow_cleanup: where deleting one by one takes minutes for each thousand.
    """

    workloads: tuple[Workload, ...]
    growth: tuple[Workload, ...]
    cleanup: Workload
    slow_cleanup: Workload


def _tiny(count: int) -> Workload:
    return Workload(f"tiny-{count}", f"{count:,} files of 200 bytes", count, 200)


FULL = Sizes(
    (
        Workload("small", "2,000 files of 32 KiB", 2000, 32 * 1024),
        Workload("medium", "64 files of 16 MiB", 64, 16 * 1024**2),
        Workload("large", "one file of 2 GiB", 1, 2 * 1024**3),
    ),
    (_tiny(10_000), _tiny(100_000)),
    _tiny(10_000),
    _tiny(1_000),
)
QUICK = Sizes(
    (
        Workload("small", "200 files of 32 KiB", 200, 32 * 1024),
        Workload("medium", "8 files of 16 MiB", 8, 16 * 1024**2),
        Workload("large", "one file of 256 MiB", 1, 256 * 1024**2),
    ),
    (_tiny(500), _tiny(5_000)),
    _tiny(1_000),
    _tiny(200),
)


@dataclass(frozen=True)
class Section:
    """Some servers, some workloads, some peers.

    :param once: one round is enough, because what it shows is far larger than the noise.
    """

    name: str
    action: str
    servers: tuple[str, ...]
    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    once: bool = False


def sections(sizes: Sizes) -> list[Section]:
    """Return everything that is measured."""
    everyone = tuple(PEERS)
    senders = tuple(name for name in PEERS if name != SHA256.name)
    deleters = ("us", "dpone")
    small, *larger = sizes.workloads
    # SeaweedFS takes long for each GiB, whoever sends it; Airflow's operator does there what boto3 does.
    with_patience = tuple(name for name in senders if name != "airflow")
    return [
        Section("upload", "stage", ("null",), sizes.workloads, everyone),
        Section("upload", "stage", ("seaweedfs",), (small,), senders),
        Section("upload", "stage", ("seaweedfs",), tuple(larger), with_patience, once=True),
        Section("latency", "stage", ("null-30ms",), sizes.workloads[:2], senders, once=True),
        Section("cleanup", "cleanup", ("null", "seaweedfs"), (sizes.cleanup,), senders),
        Section("cleanup", "cleanup", ("null-gcs", "null-azure"), (sizes.cleanup,), deleters, once=True),
        Section("cleanup", "cleanup", ("null-gcs-30ms", "null-azure-30ms"), (sizes.slow_cleanup,), deleters, once=True),
        Section("cleanup", "cleanup", ("azurite",), (sizes.slow_cleanup,), deleters, once=True),
        Section("growth", "stage", ("null", "local"), sizes.growth, ("us",), once=True),
    ]


@dataclass(frozen=True)
class Choice:
    """What of it the caller wants; nothing named means all."""

    sections: Sequence[str]
    servers: Sequence[str]
    workloads: Sequence[str]
    peers: Sequence[str]
    rounds: int

    def has(self, kind: str, name: str) -> bool:
        """Return whether one of ``sections``, ``servers``, ``workloads`` or ``peers`` is wanted."""
        wanted: Sequence[str] = getattr(self, kind)
        return not wanted or name in wanted

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.sections or self.servers or self.workloads or self.peers)


class Bench:
    """Goes through the sections and yields what it measures.

    :param home: where files and servers' data go.
    """

    def __init__(self, home: Path, choice: Choice) -> None:
        self._home = home
        self._choice = choice
        self._unavailable: set[str] = set()
        #: What went wrong, in sentences.
        self.failures: list[str] = []

    def run(self, found: Sequence[Section]) -> Iterator[Record]:
        """Measure everything that is wanted."""
        for section in found:
            if not self._choice.has("sections", section.name):
                continue
            for server in section.servers:
                for workload in section.workloads:
                    if self._choice.has("servers", server) and self._choice.has("workloads", workload.name):
                        yield from self._block(section, server, workload)

    def _block(self, section: Section, server: str, workload: Workload) -> Iterator[Record]:
        source = workload.make(self._home / "files")
        warm(source)
        say(f"\n{section.name}: {workload.label}, {LABELS[server]}")
        peers = [name for name in section.peers if self._choice.has("peers", name) and self._can(name, section, server)]
        for number in range(1 if section.once else self._choice.rounds):
            turn = number % max(1, len(peers))  # another one begins each round
            for name in [*peers[turn:], *peers[:turn]]:
                record = self._one(section, server, workload, name, number, source)
                if record is not None:
                    yield record

    def _can(self, name: str, section: Section, server: str) -> bool:
        peer = PEERS[name]
        if peer is DPONE and not dpone_is_there():
            self._unavailable.add(name)
            self.failures.append("dpone was not measured: its environment needs Python 3.11 or 3.12.")
            return False
        provider = PROVIDERS.get(server, "s3")
        return section.action in peer.actions and provider in peer.providers and name not in self._unavailable

    def _one(
        self, section: Section, server: str, workload: Workload, name: str, number: int, source: Path
    ) -> Record | None:
        if name in self._unavailable:
            return None
        peer = PEERS[name]
        scratch = self._home / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        job = Job(section.action, source, "base", workload.count)
        try:
            # Hashing needs no server, and so doesn't wait for one to start.
            with SERVERS["local" if peer is SHA256 else server](scratch) as there:
                result = measure(peer, job, there, scratch / "peer")
        except UnavailableError:
            self._unavailable.add(name)
            say(f"  {peer.label}: not in this version")
            return None
        except MeasurementError as error:
            self.failures.append(f"{section.name}, {workload.label}, {LABELS[server]}: {error}")
            say(f"  {peer.label}: FAILED")
            return None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        say(
            f"  round {number + 1}  {peer.label:38} {result.seconds:9.3f} s  CPU {result.cpu_seconds:8.2f} s  "
            f"peak {result.peak / 2**20:6.0f} MiB  load {result.load:.1f}"
        )
        return Record(section.name, server, workload.name, name, number, result)


def say(text: str) -> None:
    """Tell how far it has come."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
