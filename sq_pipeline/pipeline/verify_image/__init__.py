"""`verify-image`: does a picture say the truth about what made it?"""
