"""Documents in: files, formats, streams and the rows read out of them."""
