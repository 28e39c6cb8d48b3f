"""``make bench``: what staging costs, beside what else could do the work, on the same machine in the same run."""
