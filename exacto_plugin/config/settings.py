"""The ``exacto_settings:`` block as immutable models, with sources of defaults.

Each section has its settings in a module of this package. Reads no files and does not import LiteLLM; the block is read
by :mod:`exacto_plugin.config.sources`. Every setting has an effect, and unknown keys stop the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from exacto_plugin.config.alerts import AlertSettings
from exacto_plugin.config.blocks import Name, SettingsBlock, Share
from exacto_plugin.config.hard_filters import DefaultSort, HardFilterSettings
from exacto_plugin.config.messages import format_validation_error
from exacto_plugin.config.publish import PublishSettings
from exacto_plugin.config.routing import AffinitySettings, FailoverSettings, RescueSettings
from exacto_plugin.config.storage import BenchmarkSettings, RedisSettings, StoreSettings
from exacto_plugin.config.tiers import ExplorationSettings, ScoringSettings, TierPreset, TierSettings
from exacto_plugin.config.web import WebSettings
from exacto_plugin.core.model import Mode, Sort
from exacto_plugin.core.scoring.attribution import LossPolicy
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.flaws import LOSSES
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset
from exacto_plugin.errors import SettingsError

if TYPE_CHECKING:
    from exacto_plugin.core.routing.policy import Filter
    from exacto_plugin.core.tiers.columns import Preset

BLOCK = "exacto_settings"
"""Key of the block in LiteLLM's ``config.yaml``."""


def _yaml_off(value: object) -> object:
    """Convert false to ``off``: YAML 1.1 reads an unquoted ``off`` as false."""
    return "off" if value is False else value


ModeSetting = Annotated[Mode, BeforeValidator(_yaml_off)]
CuratedList = Annotated[tuple[Name, ...], Field(min_length=1)]


class GroupSettings(SettingsBlock, HardFilterSettings):
    """Settings of one model group; without a value the global one holds."""

    mode: ModeSetting | None = None
    """As the global ``mode``, for this model group."""
    apply_share: Share | None = None
    """As the global ``apply_share``, for this model group."""
    default_sort: DefaultSort | None = None
    """As the global ``default_sort``, for this model group."""


class ExposeSettings(SettingsBlock):
    """Data that clients may see."""

    headers: bool = True
    """Send the ``x-exacto-*`` response headers.
    On by default: they contain nothing secret for a client that may call the model."""
    providers: bool = True
    """Name deployments and providers in response headers and errors.
    To be turned off where the list of providers is confidential."""
    variants: bool = False
    """Add ``x:exacto``, ``x:floor`` and ``x:nitro`` for each ``x`` to ``/v1/models``.
    For clients that refuse names which are not listed. Off by default: the list then has the configured names only."""


class Settings(SettingsBlock, HardFilterSettings):
    """The whole ``exacto_settings:`` block."""

    mode: ModeSetting = Mode.APPLY
    """``apply`` | ``observe`` | ``off``: the mode of tiers and rescue, nothing else.
    Suffixes, curated lists and explicit sorts apply in every mode, since the client asked for them. ``observe``
    computes and records tiers and applies none."""
    apply_share: Share = 1.0
    """Share of conversations that tiers are applied to, for a gradual rollout.
    The others are only observed. 1: all conversations."""
    default_sort: DefaultSort = Sort.AUTO
    """Order of requests that state none.
    ``auto``: tiers for requests with tools, as OpenRouter does by default; ``exacto``: tiers for every request;
    ``price_weighted``: a random order weighted by 1/price^2; ``price``, ``throughput``, ``latency``: that order;
    ``none``: the operator's own strategy unchanged."""
    curated: Mapping[Name, CuratedList] = Field(default_factory=dict)
    """Allow-lists that ``:exacto`` enforces, by model group.
    Values are providers or deployment ids. None by default; without a list ``:exacto`` means tiers."""
    model_groups: Mapping[Name, GroupSettings] = Field(default_factory=dict)
    """Settings of single model groups: ``mode``, ``apply_share``, ``default_sort``.
    A group's hard filters apply in addition to the global ones."""
    client_preferences: Literal["allow", "deny"] = "allow"
    """Accept ``provider``, ``models`` and suffixes besides ``:exacto`` from clients.
    Allowed by default: a client that may call a model may also state preferences."""
    expose: ExposeSettings = ExposeSettings()
    """Data that clients may see."""
    tiers: TierSettings = TierSettings()
    """Settings of the rule that turns measurements into tiers."""
    exploration: ExplorationSettings = ExplorationSettings()
    """Limits on the cost of measuring deployments."""
    affinity: AffinitySettings = AffinitySettings()
    """Affinity of conversations to their deployment."""
    failover: FailoverSettings = FailoverSettings()
    """Limits on the deployments that one request may try."""
    rescue: RescueSettings = RescueSettings()
    """Rescue: another deployment is asked after a bad tool call."""
    scoring: ScoringSettings = ScoringSettings()
    """Scoring of tool calls."""
    alerts: AlertSettings = AlertSettings()
    """Settings of alerts through LiteLLM's own channels."""
    publish: PublishSettings = PublishSettings()
    """Settings of ``exacto publish``."""
    store: StoreSettings = StoreSettings()
    """The store for records and for the state that a restart needs."""
    redis: RedisSettings = RedisSettings()
    """The Redis through which processes share verdicts."""
    web: WebSettings = WebSettings()
    """The page at ``/exacto``."""
    benchmarks: BenchmarkSettings = BenchmarkSettings()
    """Benchmark scores."""

    def mode_of(self, group: str) -> Mode:
        """Return the mode that holds for a model group."""
        own = self.model_groups.get(group)
        return self.mode if own is None or own.mode is None else own.mode

    def apply_share_of(self, group: str) -> float:
        """Return the share of a model group's conversations that tiers are applied to."""
        own = self.model_groups.get(group)
        return self.apply_share if own is None or own.apply_share is None else own.apply_share

    def default_sort_of(self, group: str) -> Sort:
        """Return the sort of a model group's requests that state none."""
        own = self.model_groups.get(group)
        return self.default_sort if own is None or own.default_sort is None else own.default_sort

    def filters_of(self, group: str) -> tuple[Filter, ...]:
        """Return the operator's hard filters for a model group."""
        return self._imposed.get(group, self._imposed_everywhere)

    @cached_property
    def _imposed_everywhere(self) -> tuple[Filter, ...]:
        return self.filters("set for this proxy")

    @cached_property
    def _imposed(self) -> Mapping[str, tuple[Filter, ...]]:
        everywhere = self._imposed_everywhere
        return {name: (*own.filters("set for this model"), *everywhere) for name, own in self.model_groups.items()}

    @cached_property
    def has_limits(self) -> bool:
        """True when the operator set hard filters, for all model groups or for one."""
        return bool(self._imposed_everywhere) or any(self._imposed.values())

    def curated_list(self, group: str) -> tuple[str, ...] | None:
        """Return the curated list of a model group; None if none is configured.

        Its entries are providers or deployment ids, the only ones for ``:exacto``.
        """
        return self.curated.get(group)

    @property
    def empty_arguments(self) -> EmptyArguments:
        """The reading of ``""`` in force: the configured one, else the preset's own."""
        published = self.tiers.preset is TierPreset.OPENROUTER
        return self.scoring.empty_arguments or (
            EmptyArguments.INVALID_JSON if published else EmptyArguments.EMPTY_OBJECT
        )

    @property
    def charge(self) -> LossPolicy:
        """The flaws that tiers count.

        The published definition excuses no caller and counts no lost call.
        """
        published = self.tiers.preset is TierPreset.OPENROUTER
        preset = () if published else LOSSES
        losses = preset if self.scoring.lost_calls is None else self.scoring.lost_calls
        return LossPolicy(frozenset(losses), excuses_callers=not published)

    def rule(self) -> Preset:
        """Return the chosen preset with its probe share and the failures it counts."""
        rule = self.tiers.rule()
        if isinstance(rule, AdaptiveParameters):
            return AdaptivePreset(rule, self.exploration.share, self.scoring.broken_answers == "derank")
        return OpenRouterPreset(rule, counts_lost=True) if self.charge.losses else rule


def load_settings(block: Mapping[str, object] | None, path: str = BLOCK) -> Settings:
    """Read the mapping under ``exacto_settings:``.

    Args:
        block: the mapping; None means defaults.
        path: the name of the block in messages.

    Raises:
        SettingsError: unknown keys or bad values; one line each with the key, the expectation, and the value where an
            enum, a number or a boolean is expected.
    """
    if block is None:
        return Settings()
    given: object = block
    if isinstance(given, Mapping) and BLOCK in given:
        raise SettingsError(f"{path}.{BLOCK}: unknown key: give what stands under {BLOCK}, without that key")
    try:
        return Settings.model_validate(block)
    except ValidationError as error:
        fault = format_validation_error(error, Settings, path)
    # Raised outside the handler: the caught error contains the values.
    raise SettingsError(fault)
