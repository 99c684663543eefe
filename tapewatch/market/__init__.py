"""Instruments, sessions, tables and trade conditions. No I/O but for compiled code, no clock."""
