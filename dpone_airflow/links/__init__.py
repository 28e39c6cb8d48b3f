"""Floor 4: what Airflow's UI shows beside a task."""
