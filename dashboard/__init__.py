"""The Streamlit dashboard: watch the tape, understand alerts, mark events. It reads through `tapewatch.store`."""
