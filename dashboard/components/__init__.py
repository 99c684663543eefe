"""Browser components of the dashboard, and the step that fetches the libraries they stand on."""
