"""Real object-storage servers on 127.0.0.1, for the tests and the demo.

Each is a context manager: it takes free ports, waits until the server is healthy, and stops it
when the block ends, also by an exception, and also when this process is killed. All come from
PyPI, but for Azurite: ``python -m local_servers.install_azurite`` installs that one from npm.
Linux and macOS only.

    with SeaweedFS.start(directory) as server:
        server.create_bucket("landing")
        os.environ["AIRFLOW_CONN_LAKE"] = json.dumps(server.airflow_connection())
        os.environ.update(server.environment())
"""

from local_servers.azurite import Azurite
from local_servers.gcs import FakeGcsServer, GcpStorageEmulator
from local_servers.process import ServerStartError
from local_servers.programs import ProgramMissingError
from local_servers.seaweedfs import SeaweedFS

__all__ = [
    "Azurite",
    "FakeGcsServer",
    "GcpStorageEmulator",
    "ProgramMissingError",
    "SeaweedFS",
    "ServerStartError",
]
