"""Incidents: times in which a deployment was deranked, and the sentences on them.

Also findings, the sentences on the series of a model group.
"""
