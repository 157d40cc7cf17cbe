"""What depends on what, and what is to be made: inputs, the store, the survey, the plan. One file an asset below."""
