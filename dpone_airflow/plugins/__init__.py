"""Floor 4: what Airflow loads of this package by itself: the macros for templates."""
