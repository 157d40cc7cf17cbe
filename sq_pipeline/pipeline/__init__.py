"""What depends on what: inputs, the store, the status of every asset, the plan. One file an asset below."""
