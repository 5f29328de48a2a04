"""SAMFinetune's logic layer: promptable segmentation that adapts to the user's structure.

Importing this package is instant: torch is imported when a model is first needed.
"""

__version__ = "0.1.0"
