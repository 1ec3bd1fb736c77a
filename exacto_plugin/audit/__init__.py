"""Queries of the audit trail: reasons of a tier, changes, verification.

Also conditions of readmission, reports, and the sentences shown to people. May import ``core``, ``records``, ``store``
and ``errors``.
"""
