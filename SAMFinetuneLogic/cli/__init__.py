"""The `samfinetune` command: one file for each subcommand. Nothing heavy is imported before a subcommand runs."""
