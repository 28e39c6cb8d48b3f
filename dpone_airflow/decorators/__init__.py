"""Floor 4: ``@task.stage_files``, for a function that extracts what is then staged."""
