"""The documentation: what is generated in it, and what holds its pages to the code."""
