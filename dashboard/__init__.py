"""The web page for analysts: Streamlit behind a login of our own. `python -m dashboard` serves it."""
