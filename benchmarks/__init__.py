"""Side-by-side measurements of npresnet and PyTorch; see ``compare``."""
