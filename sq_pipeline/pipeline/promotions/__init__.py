"""Who put which version of an adapter into use, and where the files of those versions are. Not here: the asset."""
