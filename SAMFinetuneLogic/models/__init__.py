"""Checkpoints: the catalogue, fetching and recognising files, preprocessing, and the networks themselves.

Nothing is imported here, so that reading the catalogue needs no torch; import from the submodules.
"""
