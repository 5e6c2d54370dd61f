"""What the `selectq` command does with a shipped program; nothing here needs torch before a program does."""
