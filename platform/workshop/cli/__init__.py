"""The command line: parse, call one operation, show what it returned."""
