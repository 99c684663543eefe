"""The command `tapewatch`: arguments in, tables and pages out. The work is done in `orchestration.runs` and the library."""
