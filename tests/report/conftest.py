import pytest
from simulated_folders import run_folders


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Four strategies with three seeds each, 100 records a run."""
    return run_folders(tmp_path_factory.mktemp("small"))
