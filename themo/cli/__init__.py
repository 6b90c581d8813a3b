"""The command line: options of all commands, and the commands."""
