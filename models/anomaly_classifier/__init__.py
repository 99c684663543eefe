"""The supervised classifier: boosted trees over how unusual each feature is, trained on labelled and injected anomalies."""
