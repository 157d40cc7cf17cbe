"""A world's assets, one file each, named as in Dagster, and the survey of all of them."""
