"""Measurements that anyone can repeat: `python -m benchmarks.cpu`, `python -m benchmarks.gpu`; no part of the package."""
