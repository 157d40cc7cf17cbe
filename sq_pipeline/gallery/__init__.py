"""The gallery: a page on this machine with every expected picture, how it stands and why. Engines are given to it."""
