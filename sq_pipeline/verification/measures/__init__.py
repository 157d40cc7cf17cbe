"""Figures taken of pictures, in numpy alone: no engine, no limit, no verdict."""
