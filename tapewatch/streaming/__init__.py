"""The live side: collectors, the tape in memory, online detection, alerts, gaps and their healing."""
