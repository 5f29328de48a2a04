"""A stand-in for the Slicer application, to run the module's real code and its real .ui without Slicer.

What is real: MRML (scene, volumes, segmentations, markups, segment editor logic, slice views' displayable managers,
``slicer.util``) from the package ``slicer-core``; Qt's widgets from PySide6. What stands in: PythonQt's manners, the
ctk and qMRML widgets, ``slicer.app``, ``slicer.modules``, ScriptedLoadableModule, parameterNodeWrapper, packaging and
translation. Whatever the stand-ins do not know raises an error that says so. See ``Testing/Host/README.md``.
"""
