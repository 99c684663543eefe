"""The login of the dashboard: the middleware in front of Streamlit, and the pages for logging in and managing an account."""
