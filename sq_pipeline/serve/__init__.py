"""The warm render server of a data directory and its client, over a Unix socket. Engines are given to it."""
