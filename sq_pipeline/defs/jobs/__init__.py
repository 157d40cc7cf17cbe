"""Jobs that a person starts from Dagster's pages, each with a form: a file a subject, a line in `table`."""
