"""Gradient Lab: learn how PyTorch computes gradients, practise, and see each beside its reference."""

__version__ = "0.1.0"
