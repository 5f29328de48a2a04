"""Says why the tests of the module are left out, where they are."""

import pytest
from host_needs import missing


def test_the_host_can_run():
    if missing():
        pytest.skip(f"the tests of the module need {' and '.join(missing())}: pip install -c constraints.txt .[slicer]")
