"""What depends on what and what is to be made: inputs, store, the status of every asset, plan. One file an asset below."""
