"""A benchmark of our own: a dozen requests to the service of a parcel carrier.

``task`` needs Inspect and is loaded by it as a file; ``parcel_world`` is plain Python.
"""
