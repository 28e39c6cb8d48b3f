"""Run one command and write down what it cost; a script of its own, so that it is small itself.

Linux begins a child's peak of memory with that of the process it comes from. A parent that has loaded much
would so add to every peer; this one is a bare interpreter.
"""

import json
import os
import sys
import time


def main(result: str, command: list[str]) -> int:
    """Run the command to its end and answer with its exit code."""
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    cost = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024,
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(cost, file)
    return os.waitstatus_to_exitcode(status) % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
