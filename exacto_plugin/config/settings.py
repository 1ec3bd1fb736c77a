"""What an operator can configure: the ``exacto_settings:`` block as immutable models, each default with its source.

Knows neither files nor LiteLLM; where the block comes from is :mod:`exacto_plugin.config.sources`. A name stands here
only when something honours it: a setting that does nothing would be a lie, so unknown keys stop the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from exacto_plugin.config.hard_filters import DefaultSort, HardFilterSettings, no_bool
from exacto_plugin.config.messages import format_validation_error
from exacto_plugin.core.model import Flaw, Mode, Sort
from exacto_plugin.core.routing.affinity import IDLE_S
from exacto_plugin.core.scoring.attribution import LOSSES, LossPolicy
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.json_schema.engine import EngineSetting
from exacto_plugin.core.tiers.adaptive.parameters import EXPLORATION_SHARE, AdaptiveParameters, AdaptivePreset
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.errors import SettingsError
from exacto_plugin.record_kinds import LEAST_DAYS, RecordKind

if TYPE_CHECKING:
    from exacto_plugin.core.routing.policy import Filter
    from exacto_plugin.core.tiers.columns import Preset

BLOCK = "exacto_settings"
"""Key of the block in LiteLLM's ``config.yaml``."""


HiddenFlaw = Literal[Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP, Flaw.IGNORED_CHOICE, Flaw.DUPLICATE_ID]
"""The provider's flaws that the published error rate cannot see."""


class TierPreset(StrEnum):
    """Which rule turns measurements into tiers."""

    ADAPTIVE = "adaptive"
    """Exact tests against what the other deployments do, with a memory and a measured way back up."""
    OPENROUTER = "openrouter"
    """The rule and the numbers that OpenRouter publishes for Auto Exacto."""


def _yaml_off(value: object) -> object:
    """YAML 1.1 reads an unquoted ``off`` as false; no other mode could be meant by it."""
    return "off" if value is False else value


def _no_bools(block: object) -> object:
    """The same for every number of a part; what cannot be a number's name is an unknown key."""
    if isinstance(block, Mapping):
        for key, value in block.items():
            if isinstance(value, bool) and str(key).isidentifier():
                raise ValueError(f"{key}: expected a number, got {str(value).lower()}")
    return block


def _no_bools_but_propensity(block: object) -> object:
    """The same for the adaptive rule, which has one switch among its numbers."""
    if isinstance(block, Mapping):
        _no_bools({key: value for key, value in block.items() if key != "propensity_deranks"})
    return block


ModeSetting = Annotated[Mode, BeforeValidator(_yaml_off)]
Share = Annotated[float, BeforeValidator(no_bool), Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, allow_inf_nan=False)]
Days = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=36_500.0)]
Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
CuratedList = Annotated[tuple[Name, ...], Field(min_length=1)]


def _is_part(annotation: object) -> bool:
    """Whether a field is written as a mapping."""
    if isinstance(annotation, type):
        return issubclass(annotation, _Block) or is_dataclass(annotation)
    return getattr(annotation, "__origin__", None) is Mapping


class _Block(BaseModel):
    """A part of the configuration: immutable, unknown keys refused, documented by the docstrings of its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_parts(cls, block: Any) -> Any:
        """A part that is written with nothing under it (YAML: null) means its defaults."""
        if not isinstance(block, Mapping):
            return block
        parts = {name for name, field in cls.model_fields.items() if _is_part(field.annotation)}
        return {key: {} if value is None and key in parts else value for key, value in block.items()}


class GroupSettings(_Block, HardFilterSettings):
    """What one model group has otherwise than the rest; what is not named here holds as it does globally."""

    mode: ModeSetting | None = None
    """As the global ``mode``, for this model group."""
    apply_share: Share | None = None
    """As the global ``apply_share``, for this model group."""
    default_sort: DefaultSort | None = None
    """As the global ``default_sort``, for this model group."""


class ExposeSettings(_Block):
    """What clients may see."""

    headers: bool = True
    """Send the ``x-exacto-*`` response headers. On by default: nothing in them is secret to who may call the model."""
    providers: bool = True
    """Name the providers that exist in errors. Off where the list of providers is nobody's business."""
    variants: bool = False
    """List ``x:exacto``, ``x:floor`` and ``x:nitro`` beside each ``x`` in ``/v1/models``, for clients that refuse names
    which are not there. Off by default: the list is what the operator configured."""


class TierSettings(_Block):
    """How measurements become tiers."""

    preset: TierPreset = TierPreset.ADAPTIVE
    """``adaptive``: the rule that works from 2 deployments and a request a minute on. ``openrouter``: the published
    one, which needs 4 deployments with 100 to 200 recent answers each."""
    recompute_interval_s: Seconds = 300.0
    """Seconds between two recomputes; 5 minutes is what OpenRouter publishes for Auto Exacto."""
    openrouter: Annotated[OpenRouterParameters, BeforeValidator(_no_bools)] = OpenRouterParameters()
    """The numbers of the preset ``openrouter``."""
    adaptive: Annotated[AdaptiveParameters, BeforeValidator(_no_bools_but_propensity)] = AdaptiveParameters()
    """The numbers of the preset ``adaptive``."""

    def rule(self) -> AdaptiveParameters | OpenRouterParameters:
        """The rule of the chosen preset."""
        return self.adaptive if self.preset is TierPreset.ADAPTIVE else self.openrouter


class ExplorationSettings(_Block):
    """What measuring deployments may cost."""

    share: Share = EXPLORATION_SHARE
    """Share of the requests with tools that may be sent to a deployment in order to measure it. Only ``adaptive``
    explores; the published rule does not. 0: never."""


class AffinitySettings(_Block):
    """Conversations that stay at their deployment, so that its prompt cache serves them."""

    enabled: bool = True
    """On by default, as OpenRouter's sticky sessions are; under ``mode: apply`` only, and not under an explicit
    ``order`` or an order by price, throughput or latency."""
    idle_s: Seconds = IDLE_S
    """Seconds without a successful answer after which a conversation may go on elsewhere; OpenRouter: 10 minutes."""


class FailoverSettings(_Block):
    """How many deployments one request may try."""

    max_attempts: Count | None = None
    """Attempts of one request within a model group, the first included, each at another deployment; also after 402, 404
    and errors before the first chunk of a chat stream, never after 400. A request may ask for fewer (``num_retries``);
    fallbacks to other model groups count anew. null, the default: LiteLLM's own number (``num_retries``)."""


class RescueSettings(_Block):
    """Whether a bad tool call is asked for once more, of another deployment, before the client has it."""

    enabled: bool = False
    """Off by default, since it costs a second answer: a whole answer with a bad tool call is then held back while
    another deployment of the same model group is asked. The client gets the first valid answer; without any, the
    first."""
    max_attempts: Count = 1
    """Other deployments that one request may be sent to for this. 1: on the K2VV table of 2025-11-15 that leaves about
    a tenth of the bad calls (measured: benchmarks/rescue.py), and a second one costs as much as the first."""
    max_extra_seconds: Seconds = 30.0
    """Longest that a client waits for this beyond the first answer, all attempts together."""
    streams: bool = False
    """The same for streams. Off by default, since tool calls of a stream then arrive at its end, all
    at once; its text flows as before."""


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected an address that begins with redis://, rediss:// or unix://")
    return url


class RedisSettings(_Block):
    """Where several processes meet, so that they have one opinion."""

    enabled: bool = True
    """Whether verdicts, probe budgets and conversations are shared through Redis at all. On by default: who gives
    LiteLLM a Redis has several proxies that should agree."""
    url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """``redis://``, ``rediss://`` or ``unix://``. null, the default: LiteLLM's own connection where it has one, a
    cluster's included."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "exacto"
    """Keeps installations apart that use one Redis and do not serve the same deployments."""


class ScoringSettings(_Block):
    """How the tool calls of an answer are judged."""

    engine: EngineSetting = EngineSetting.AUTO
    """``auto``: the compiled validator where it is installed, since it is two orders of magnitude faster (measured)."""
    empty_arguments: EmptyArguments | None = None
    """Reading of ``""``. null, the default: as the tier preset has it; ``adaptive`` reads it as ``{}``, which is what
    providers mean by it for tools without arguments, ``openrouter`` as invalid JSON."""
    lost_calls: tuple[HiddenFlaw, ...] | None = None
    """The flaws beside bad calls that count as a failed call: ``missing_call``, ``leaked_markup``, ``ignored_choice``,
    ``duplicate_id``. null, the default: as the tier preset has it. ``adaptive`` counts the first three, since tiers by
    bad calls alone leave 14.2 % of combined failures where 2.74 % are attainable (measured on the published K2 table of
    2025-10-10); ``openrouter`` none, as published. All of them are measured either way."""


class StoreSettings(_Block):
    """Where records, and what a restart needs, are kept."""

    url: SecretStr | None = None
    """``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/DATABASE``, or ``sqlite://`` for memory. null: on a proxy a
    SQLite file in the directory for state ($XDG_STATE_HOME, ~/.local/state, /var/lib), one for each configuration file,
    and memory where nothing can be written; in programs nothing is kept."""
    retention_days: Days = 30.0
    """Days that records are kept. 30: a month of evidence for who asks why."""
    retention: Mapping[RecordKind, Days] = Field(default_factory=dict)
    """Exceptions for kinds of records. Benchmark scores are kept 90 days at least, since they are weighed for 32 and
    compared over a quarter."""

    decision_share: Share = 0.01
    """Share of ordinary requests that are put on record; rescued, failed over, probing and refused ones always are. One
    in a hundred shows what requests look like, at about 1.5 kB each."""

    outcomes: Name | None = None
    """Directory that every sample is written to as JSON lines, for ``exacto replay``: verdict, blame, sizes and times,
    no text. None by default: it is the operator's choice."""
    outcomes_mb: Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=100_000.0)] = 100.0
    """Megabytes of one such file; ten are kept of each process. 100: some 500,000 samples."""

    def days(self, kind: RecordKind) -> float:
        """Days that a kind of records is kept."""
        return max(self.retention.get(kind, self.retention_days), LEAST_DAYS.get(kind, 0.0))


class Settings(_Block, HardFilterSettings):
    """The whole ``exacto_settings:`` block."""

    mode: ModeSetting = Mode.APPLY
    """``apply`` | ``observe`` | ``off``: governs tiers and rescue, nothing else. Suffixes, curated lists and explicit
    sorts are honoured in every mode, since the client asked for them. ``observe`` decides and records tiers and applies
    none."""
    apply_share: Share = 1.0
    """Share of conversations that tiers are applied to, for a careful rollout; the rest is observed. 1: all of them."""
    default_sort: DefaultSort = Sort.AUTO
    """Order of requests that ask for none. ``auto``: tiers for requests with tools, as OpenRouter does by default;
    ``exacto``: tiers for every request; ``price_weighted``: a lottery by 1/price^2; ``price``, ``throughput``,
    ``latency``: that order; ``none``: the operator's own strategy untouched."""
    curated: Mapping[Name, CuratedList] = Field(default_factory=dict)
    """Allow-lists that ``:exacto`` enforces: model group to providers or deployment ids. None by default; without one
    ``:exacto`` means tiers."""
    model_groups: Mapping[Name, GroupSettings] = Field(default_factory=dict)
    """Exceptions for single model groups: ``mode``, ``apply_share``, ``default_sort``; and hard filters of their own,
    which hold beside the global ones."""
    client_preferences: Literal["allow", "deny"] = "allow"
    """Whether clients may send ``provider``, ``models`` and suffixes other than ``:exacto``. Allowed by default: who
    may call a model may say how."""
    expose: ExposeSettings = ExposeSettings()
    """What clients may see."""
    tiers: TierSettings = TierSettings()
    """How measurements become tiers."""
    exploration: ExplorationSettings = ExplorationSettings()
    """What measuring deployments may cost."""
    affinity: AffinitySettings = AffinitySettings()
    """Whether conversations stay at their deployment."""
    failover: FailoverSettings = FailoverSettings()
    """How many deployments one request may try."""
    rescue: RescueSettings = RescueSettings()
    """Whether a bad tool call is asked for once more."""
    scoring: ScoringSettings = ScoringSettings()
    """How tool calls are judged."""
    store: StoreSettings = StoreSettings()
    """Where records, and what a restart needs, are kept."""
    redis: RedisSettings = RedisSettings()
    """Where several processes meet."""

    def mode_of(self, group: str) -> Mode:
        """The mode that holds for a model group."""
        own = self.model_groups.get(group)
        return self.mode if own is None or own.mode is None else own.mode

    def apply_share_of(self, group: str) -> float:
        """The share of a model group's conversations that tiers are applied to."""
        own = self.model_groups.get(group)
        return self.apply_share if own is None or own.apply_share is None else own.apply_share

    def default_sort_of(self, group: str) -> Sort:
        """The sort of a model group's requests that ask for none."""
        own = self.model_groups.get(group)
        return self.default_sort if own is None or own.default_sort is None else own.default_sort

    def filters_of(self, group: str) -> tuple[Filter, ...]:
        """The hard filters that the operator set for a model group."""
        return self._imposed.get(group, self._imposed_everywhere)

    @cached_property
    def _imposed_everywhere(self) -> tuple[Filter, ...]:
        return self.filters("set for this proxy")

    @cached_property
    def _imposed(self) -> Mapping[str, tuple[Filter, ...]]:
        everywhere = self._imposed_everywhere
        return {name: (*own.filters("set for this model"), *everywhere) for name, own in self.model_groups.items()}

    def curated_list(self, group: str) -> tuple[str, ...] | None:
        """The providers or deployment ids that ``:exacto`` is limited to; None where no list is configured."""
        return self.curated.get(group)

    @property
    def empty_arguments(self) -> EmptyArguments:
        """The reading of ``""`` that holds: what was configured, else the preset's own."""
        published = self.tiers.preset is TierPreset.OPENROUTER
        return self.scoring.empty_arguments or (
            EmptyArguments.INVALID_JSON if published else EmptyArguments.EMPTY_OBJECT
        )

    @property
    def charge(self) -> LossPolicy:
        """What of an answer's flaws tiers count. The published definition excuses no caller and sees no lost call."""
        published = self.tiers.preset is TierPreset.OPENROUTER
        preset = () if published else LOSSES
        losses = preset if self.scoring.lost_calls is None else self.scoring.lost_calls
        return LossPolicy(frozenset(losses), excuses_callers=not published)

    def rule(self) -> Preset:
        """The rule of the chosen preset, with what it may spend on exploration and which failures it sees."""
        rule = self.tiers.rule()
        if isinstance(rule, AdaptiveParameters):
            return AdaptivePreset(rule, self.exploration.share)
        return OpenRouterPreset(rule, counts_lost=True) if self.charge.losses else rule


def load_settings(block: Mapping[str, object] | None, path: str = BLOCK) -> Settings:
    """Read the mapping under ``exacto_settings:``.

    Args:
        block: the mapping; None means defaults.
        path: how the block is called in messages.

    Raises:
        SettingsError: unknown keys or bad values; one line each, naming the key and what was expected, and the value
            where that is an enum, a number or a boolean.
    """
    if block is None:
        return Settings()
    try:
        return Settings.model_validate(block)
    except ValidationError as error:
        fault = format_validation_error(error, Settings, path)
    # Outside of what caught the error, which has the values in it.
    raise SettingsError(fault)
