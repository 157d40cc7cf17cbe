"""An adapter's assets, one file each, named as in Dagster, and the status of all of them."""
