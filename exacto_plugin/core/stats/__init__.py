"""Statistics of samples and peers, computed on arrays.

Imports nothing else of this package.
"""
