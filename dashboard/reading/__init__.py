"""What the pages show, read from lake and database: pure functions and frames, without Streamlit."""
