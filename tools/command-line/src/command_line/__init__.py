"""`candlekeep`: the API at a terminal. Tables for people, `--json` for programs, exit codes for scripts."""
