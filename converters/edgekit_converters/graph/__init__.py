"""The canonical float graph: ONNX held as onnx-ir, its weights by reference; what is known of it by running it."""
