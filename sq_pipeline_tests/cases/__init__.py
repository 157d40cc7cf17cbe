"""Inputs that people bring, as the case tables name them."""
