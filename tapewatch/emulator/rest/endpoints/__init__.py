"""The addresses of the REST API, one module for each group of them."""
