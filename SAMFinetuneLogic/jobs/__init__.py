"""Background jobs: a folder, a detached process, and how to follow, stop and resume it."""
