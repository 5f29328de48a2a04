"""The persistent inference process, and the client of a user interface that never waits for it."""
