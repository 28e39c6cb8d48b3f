"""``make demo`` and ``make demo-s3``: the flights DAG, end to end, with nothing to configure."""
