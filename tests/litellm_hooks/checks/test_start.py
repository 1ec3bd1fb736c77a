"""The checks at a proxy's start: warnings, and one line for settings that cannot be used."""

from __future__ import annotations

import logging

import pytest

from exacto_plugin.config.settings import load_settings
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.checks.start import shorten_traceback, warn_of_problems
from exacto_plugin.litellm_hooks.faults import FaultReporter

MODELS = [{"model_name": "kimi", "litellm_params": {"model": "deepinfra/k"}}]


def test_problems_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """The same lines as those of ``check-config``."""
    config = {"model_list": MODELS, "exacto": {"mode": "observe"}, "general_settings": {"exacto_settings": {}}}
    settings = load_settings({"curated": {"kimi": ["firworks"]}})
    warn_of_problems(config, settings, FaultReporter())
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        "exacto_plugin: exacto: is not read: the block is called exacto_settings: and belongs at the top level of the"
        " file",
        "exacto_plugin: general_settings.exacto_settings is not read: exacto_settings: belongs at the top level of the"
        " file",
        "exacto_plugin: exacto_settings.curated.kimi[0]: matches no deployment; providers there: deepinfra",
    ]


def test_a_reference_that_is_no_deployment_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Scores would silently be compared with all others; a misspelt model group is told as in other settings."""
    model = {**MODELS[0], "model_info": {"id": "kimi-oak"}}
    settings = load_settings({"benchmarks": {"reference": {"kimi": "kimi-okk", "kimy": "kimi-oak"}}})
    warn_of_problems({"model_list": [model]}, settings, FaultReporter())
    assert [record.getMessage() for record in caplog.records] == [
        "exacto_plugin: exacto_settings.benchmarks.reference.kimy: no such model_name in model_list (did you mean"
        " kimi?)",
        "exacto_plugin: exacto_settings.benchmarks.reference.kimi: no deployment of this model group (did you mean"
        " kimi-oak?); there are kimi-oak",
    ]
    caplog.clear()
    warn_of_problems(
        {"model_list": [model]}, load_settings({"benchmarks": {"reference": {"kimi": "kimi-oak"}}}), FaultReporter()
    )
    assert caplog.records == []


def test_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    """Without a file, with models in LiteLLM's database, and with a check that fails."""
    settings = load_settings({"curated": {"other": ["a"]}})
    warn_of_problems({"model_list": MODELS, "general_settings": {"store_model_in_db": True}}, settings, FaultReporter())
    warn_of_problems(None, load_settings(None), FaultReporter())
    assert caplog.records == []
    faults = FaultReporter()
    warn_of_problems({"exacto": 1}, None, faults)  # type: ignore[arg-type]
    assert faults.counts["settings"] == 1


@pytest.mark.parametrize("server", ["uvicorn.error", "_granian", "gunicorn.error"])
def test_one_line_instead_of_a_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """However the server logs it; other errors keep theirs."""
    logger = logging.getLogger(server)
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.ERROR, server)
    kept = list(logger.filters)
    monkeypatch.setattr(logger, "propagate", True)
    error = SettingsError("exacto_settings.mod: unknown key")
    try:
        shorten_traceback(error)
        logger.error("Traceback (most recent call last):\n  File x\nexacto_plugin.errors.SettingsError: %s\n", error)
        try:
            raise error
        except SettingsError:
            logger.exception("startup failed")
        logger.error("Traceback (most recent call last):\n  File x\nValueError: another")
    finally:
        logger.filters[:] = kept
    line = "exacto_plugin cannot start: exacto_settings.mod: unknown key"
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        line,
        line,
        "Traceback (most recent call last):",
    ]
    assert [record.exc_info for record in caplog.records] == [None, None, None]
