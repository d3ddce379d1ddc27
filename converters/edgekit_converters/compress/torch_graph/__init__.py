"""The canonical graph as a differentiable PyTorch module; everything in here needs PyTorch."""
