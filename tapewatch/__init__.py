"""Tapewatch: the library behind the platform. It knows no Dagster, Feast, MLflow, BentoML or Streamlit."""

__version__ = "0.1.0"
