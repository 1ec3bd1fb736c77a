"""The rules of the plugin, without I/O, clocks or frameworks.

Time is an argument. ``model`` and ``decision`` define the records; ``wire`` declares the names of their attributes in
stored data, and ``codec`` and ``views`` convert them to plain data. ``scoring`` evaluates one answer, ``windows`` holds
counters over time, ``tiers`` turns counters into verdicts, and ``routing`` orders the deployments of one request;
``stats`` has the statistics for that. ``engine`` is the one stateful object and joins windows, tiers and routing.
"""
