"""The PyTorch side of the tests. Nothing under npresnet/ knows of it."""
