"""`adapter inspect`: what a file is, what it covers, who loads it, and what is doubtful about it."""
