"""Documents in and out: formats, units, identity, byte-exact writing."""
