"""`dataworth judge`: is a selection any good? Measured on its text and the pool's, no training."""
