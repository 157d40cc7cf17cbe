"""The gallery: what it tells of each picture, who may ask it, its page in a real browser, its export, its end."""
