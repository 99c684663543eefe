"""Tapewatch: the library behind the platform. It imports no Dagster, Feast, MLflow, BentoML or Streamlit."""

__version__ = "0.1.0"
