"""Every hint of the product: those that a command or an edit carries out, carried out; the others by name, with why."""
