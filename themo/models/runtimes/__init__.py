"""Runtimes that compute a student's vectors of texts: PyTorch, ONNX Runtime and OpenVINO."""
