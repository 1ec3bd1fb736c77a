"""The adapter to LiteLLM: its hooks, dictionaries and internals.

Entry points and patches are in this package; ``faults``, ``refusal`` and ``background`` are its lowest layer and may
import ``config``, ``core``, ``telemetry`` and ``errors``. The sub-packages import in one direction: ``deployments``,
``request``, ``routing``, ``scoring``, ``rescue``, ``http``; ``runtime`` builds the parts that serve them.
"""
