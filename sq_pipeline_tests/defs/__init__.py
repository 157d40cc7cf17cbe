"""Tests of what happens by itself: sensors, the night, the daemon."""
