"""The Isolation Forest: the detector, and its trees as a file, as ONNX and as paths for SHAP."""
