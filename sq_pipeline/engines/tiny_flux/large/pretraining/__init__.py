"""Trains tiny-flux from nothing but the painter, step by step; `python -m` this package.`pretrain`."""
