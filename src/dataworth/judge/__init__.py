"""Is the selection any good?"""
