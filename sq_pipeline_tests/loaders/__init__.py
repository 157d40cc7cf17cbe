"""What published loaders really do with an adapter file: the loaders, and builders of files in each dialect."""
