"""Gradient Lab: learn how PyTorch computes gradients, practise, and prove that a machine computes them right."""

__version__ = "0.1.0"
