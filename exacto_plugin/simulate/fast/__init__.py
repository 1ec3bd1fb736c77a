"""Simulation of counts per recompute interval, with the same rules.

``run`` is the entry; the other modules draw, count and share out what ``simulate`` does request by request.
"""
