"""What runs in a process of its own for each measurement: one module a peer that is a Python library."""
