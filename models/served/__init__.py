"""Saved detectors as the scoring service runs them: by ONNX Runtime, without the libraries that fit them."""
