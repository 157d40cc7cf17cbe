"""What people decide of single pictures: entering it, putting it in place, and what there was before."""
