"""The installed `mflux-train`, as a trainer."""
