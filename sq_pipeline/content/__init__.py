"""What a person writes about a game: packs, styles, subjects of every tier, and the stacks and prompts made of them."""
