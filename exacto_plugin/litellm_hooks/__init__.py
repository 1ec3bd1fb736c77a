"""The adapter to LiteLLM: its hooks, dictionaries and internals.

Entry points and patches are in this package; ``faults``, ``refusal`` and ``background`` are its lowest layer and may
import ``config``, ``core``, ``telemetry`` and ``errors``. The sub-packages import in one direction: ``deployments``,
``request``, ``runtime``, ``routing``, ``scoring``, ``rescue``, ``http``. The composition root in ``runtime`` is for
entry points and the API only.
"""
