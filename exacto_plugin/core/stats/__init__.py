"""Statistics of samples and peers: arrays in, arrays out.

Imports nothing else of this package.
"""
