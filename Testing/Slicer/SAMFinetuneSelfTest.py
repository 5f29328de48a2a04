"""Runs the module's self-test in Slicer: the same as "Reload and Test" in the module's developer section."""

import unittest

from SAMFinetune import SAMFinetuneTest


class SAMFinetuneSelfTest(unittest.TestCase):
    """One test, the scenario of the module."""

    def test_scenario(self):
        SAMFinetuneTest().runTest()


if __name__ == "__main__":
    unittest.main()
