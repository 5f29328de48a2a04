"""Runs the module's self-test in Slicer: the same as "Reload and Test" in the module's developer section."""

import importlib.util
import unittest

from SAMFinetune import SAMFinetuneTest


# Machines that build extensions for Slicer have the PyTorch extension, but not PyTorch.
@unittest.skipIf(importlib.util.find_spec("torch") is None, "PyTorch is not installed: the module's button installs it")
class SAMFinetuneSelfTest(unittest.TestCase):
    """One test, the scenario of the module."""

    def test_scenario(self):
        SAMFinetuneTest().runTest()


if __name__ == "__main__":
    unittest.main()
