"""The command line: arguments, subcommands, exit statuses."""
