"""Settings of data outside the process: the store and Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from exacto_plugin.config.blocks import Days, Name, SettingsBlock, Share, no_bool
from exacto_plugin.records import LEAST_DAYS, RecordKind


class StoreSettings(SettingsBlock):
    """Settings of the store for records and for the state that a restart needs."""

    url: SecretStr | None = None
    """The database: SQLite or PostgreSQL.
    ``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/DATABASE``, or ``sqlite://`` for memory. null: on a proxy a
    SQLite file in the directory for state ($XDG_STATE_HOME, ~/.local/state, /var/lib), one for each configuration
    file, and memory where no file can be written; in programs nothing is stored."""
    retention_days: Days = 30.0
    """Days that records are kept. 30: a month of evidence for questions afterwards."""
    retention: Mapping[RecordKind, Days] = Field(default_factory=dict)
    """Days for single kinds of records, instead of ``retention_days``.
    Benchmark scores are kept 90 days at least, since they are weighted for 32 and compared over a quarter."""

    decision_share: Share = 0.01
    """Share of ordinary requests whose decision is recorded.
    Rescues, failovers, probes and refusals are always recorded. One in a hundred shows the ordinary requests, at
    about 1.5 kB each."""

    outcomes: Name | None = None
    """Directory of the sample log, JSON lines for ``exacto replay``.
    A line holds verdict, blame, sizes and times, and no text. None by default: no samples are written."""
    outcomes_mb: Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=100_000.0)] = 100.0
    """Megabytes of one such file; ten are kept for each process.
    100: some 500,000 samples."""

    def days(self, kind: RecordKind) -> float:
        """Return the days that a kind of records is kept."""
        return max(self.retention.get(kind, self.retention_days), LEAST_DAYS.get(kind, 0.0))


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected an address that begins with redis://, rediss:// or unix://")
    return url


class RedisSettings(SettingsBlock):
    """Settings of the Redis through which processes share verdicts."""

    enabled: bool = True
    """Share verdicts, probe budgets and conversations through Redis.
    On by default: a LiteLLM with a Redis usually has several proxies, which should use the same verdicts."""
    url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """``redis://``, ``rediss://`` or ``unix://``.
    null, the default: LiteLLM's own connection where it has one, also to a cluster."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "exacto"
    """Prefix of the keys, to separate installations that share one Redis.
    Needed where they do not serve the same deployments."""


class BenchmarkSettings(SettingsBlock):
    """Settings of benchmark scores, which ``exacto bench`` puts into the store."""

    reference: Mapping[Name, Name] = Field(default_factory=dict)
    """By model group, the deployment that the others are compared with: the maker's own, or one you host.
    A value is a deployment as ``exacto tiers --json`` shows it. None by default: each is compared with all others."""
    monthly_usd: Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=1e6)] | None = None
    """USD that ``exacto bench run`` may spend in a month, on all machines with this store.
    null, the default: only ``--max-usd`` limits a run."""
