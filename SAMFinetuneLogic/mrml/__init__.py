"""3D Slicer's scene: volumes, segments and markups to and from the rest of the package, and sessions kept in it.

Only this folder imports ``slicer`` and ``vtk``; it runs inside Slicer and on the PyPI package ``slicer-core``. Scenes
come from nodes or arguments, never from a global. All positions are world RAS in mm: a node's parent transform is part
of what is read.
"""
