"""`candlekeep`: the API in a terminal, with tables for people, `--json` for programs and exit codes for scripts."""
