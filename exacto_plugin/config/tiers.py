"""Settings of scoring, tiers and exploration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator

from exacto_plugin.config.blocks import Seconds, SettingsBlock, Share, no_bools
from exacto_plugin.core.model import Flaw
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.json_schema.engine import EngineSetting
from exacto_plugin.core.tiers.adaptive.parameters import EXPLORATION_SHARE, AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters


class TierPreset(StrEnum):
    """The rule that turns measurements into tiers."""

    ADAPTIVE = "adaptive"
    """Exact tests against the other deployments, with state and measured readmission."""
    OPENROUTER = "openrouter"
    """The rule and the numbers that OpenRouter publishes for Auto Exacto."""


HiddenFlaw = Literal[Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP, Flaw.IGNORED_CHOICE, Flaw.DUPLICATE_ID]
"""The provider's flaws that the published error rate does not include."""


class ScoringSettings(SettingsBlock):
    """Settings of the scoring of tool calls."""

    engine: EngineSetting = EngineSetting.AUTO
    """The JSON Schema validator, ``auto``, ``jsonschema_rs`` or ``jsonschema``.
    ``auto``: the compiled validator where it is installed, since it is two orders of magnitude faster (measured)."""
    empty_arguments: EmptyArguments | None = None
    """The reading of ``""`` as arguments, ``empty_object`` or ``invalid_json``.
    null, the default: that of the tier preset; ``adaptive`` reads it as ``{}``, the intended meaning of many
    providers for tools without arguments, ``openrouter`` as invalid JSON."""
    lost_calls: tuple[HiddenFlaw, ...] | None = None
    """Flaws that count as a failed call in addition to bad calls.
    ``missing_call``, ``leaked_markup``, ``ignored_choice``, ``duplicate_id``. null, the default: those of the tier
    preset. ``adaptive`` counts the first three, since tiers by bad calls alone leave 14.2 % of combined failures
    where 2.74 % are attainable (measured on the published K2 table of 2025-10-10); ``openrouter`` none, as published.
    All of them are measured either way."""
    broken_answers: Literal["observe", "derank"] = "observe"
    """Use of broken answers by the preset ``adaptive``: ``observe`` or ``derank``.
    Of all router-chosen answers, with tools or without, by the tests of tool calls. ``openrouter``, the published rule,
    never deranks by them."""


def _no_bools_but_propensity(block: object) -> object:
    """Refuse booleans for the numbers of the adaptive rule, which has one switch."""
    if isinstance(block, Mapping):
        no_bools({key: value for key, value in block.items() if key != "propensity_deranks"})
    return block


class TierSettings(SettingsBlock):
    """Settings of the rule that turns measurements into tiers."""

    preset: TierPreset = TierPreset.ADAPTIVE
    """The rule of tiers, ``adaptive`` or ``openrouter``.
    ``adaptive`` works from 2 deployments and one request a minute. ``openrouter``, the published rule, needs 4
    deployments with 100 to 200 recent answers each."""
    recompute_interval_s: Seconds = 300.0
    """Seconds between two recomputes.
    5 minutes is OpenRouter's published interval for Auto Exacto."""
    openrouter: Annotated[OpenRouterParameters, BeforeValidator(no_bools)] = OpenRouterParameters()
    """The numbers of the preset ``openrouter``."""
    adaptive: Annotated[AdaptiveParameters, BeforeValidator(_no_bools_but_propensity)] = AdaptiveParameters()
    """The numbers of the preset ``adaptive``."""

    def rule(self) -> AdaptiveParameters | OpenRouterParameters:
        """Return the parameters of the chosen preset."""
        return self.adaptive if self.preset is TierPreset.ADAPTIVE else self.openrouter


class ExplorationSettings(SettingsBlock):
    """Limits on the cost of measuring deployments."""

    share: Share = EXPLORATION_SHARE
    """Share of the requests with tools that may be probes.
    Only ``adaptive`` sends probes; the published rule does not. Trials that go well have ``tiers.adaptive.trial_share``
    beside it, unless this share is below its default. 0: never, trials included."""
