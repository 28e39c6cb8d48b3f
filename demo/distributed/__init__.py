"""``python -m demo.distributed``: a mapped stage on two Celery workers, one of which is killed."""
