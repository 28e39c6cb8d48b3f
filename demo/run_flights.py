"""The part of the demo that is Airflow: run the flights DAG in this process and write down how it went."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from local_servers.in_process_airflow import configure, load_dags, make_database, run_dag

DAG_FILE = Path(__file__).parent.parent / "example_dags" / "example_flights.py"


def main(home: Path) -> None:
    """Run the DAG with its Airflow in ``home``, and leave ``home/result.json``."""
    configure(home, DAG_FILE.parent, quiet=False)
    make_database()
    result = run_dag(load_dags(DAG_FILE).dag)
    (home / "result.json").write_text(json.dumps(asdict(result), indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
