"""Stage large extracts in object storage from Airflow: one contract, a checksummed manifest, safe cleanup.

Four floors, each importing only from those below it: ``operators`` (Airflow's faces), ``hooks``
(a connection and a URI become a client), ``staging`` (the contract) and ``storage`` (the clients).
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
