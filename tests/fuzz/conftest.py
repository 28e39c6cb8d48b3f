"""Some hundred inputs for each test in the suite, 200,000 with ``make fuzz``, which says how many there were."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzzed import COUNTS, LONG_RUN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print seed and counts of the long run."""
    if LONG_RUN:
        terminalreporter.section(f"fuzzed with seed {config.getoption('--hypothesis-seed')}")
        for name, count in COUNTS.items():
            terminalreporter.write_line(f"{count:>9,} inputs  {name}")
