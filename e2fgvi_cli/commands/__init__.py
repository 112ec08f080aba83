"""One thin file a subcommand: parse, call, report. Heavy imports happen inside the functions."""
