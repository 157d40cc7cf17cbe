"""What depends on what, and what is to be made: inputs, the store, the status of every asset, the plan. One file an asset below."""
