"""mlx-examples' `flux/dreambooth.py` in the user's own checkout, as a trainer."""
