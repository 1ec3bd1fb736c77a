"""The adapter to LiteLLM: everything that knows its hooks, dictionaries and internals.

Entry points and patches stand here; ``faults``, ``refusal`` and ``background`` are at the bottom and may import
``config``, ``core``, ``telemetry`` and ``errors``. The sub-packages import in one direction: ``deployments``,
``request``, ``routing``, ``scoring``, ``rescue``, ``http``; ``runtime`` builds the parts that serve them.
"""
