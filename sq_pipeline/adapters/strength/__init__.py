"""What an adapter says of its own strength, in whichever place, and what counts."""
