"""Parameters of the ``adaptive`` preset, each with its source.

"Measured" means: in simulations of the whole rule over five days on the result tables of the K2 Vendor Verifier and on
populations built from published before-and-after figures, at 1 to 1,000 requests a minute, 30 runs each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

EXPLORATION_SHARE = 0.02
"""Largest share of tool requests that are probes.
Measured: 2 % where it is needed brings repaired deployments back as surely as 5 % for all, at a sixth to a twentieth
of the additional errors."""

TRIAL_CALLS = 800
"""Calls, times the design effect, up to which a trial is tested as a whole.
Without a failure they exclude 0.37 %, less than any threshold that convicts by price (arithmetic)."""

LARGEST = 1e12
"""Upper limit of every parameter.
A threshold above it is out of reach, and results from it still fit into int64."""

_AT_LEAST_ONE = (
    "peer_calls",
    "derank_calls",
    "good_calls",
    "settled_calls",
    "fresh_calls",
    "burst_calls",
    "burst_faults",
    "trial_faults",
    "chance_power",
)
_AT_LEAST_1 = ("phi_start", "phi_max", "speed_ratio", "propensity_ratio", "case_mix_max", "max_cost_premium")
_PROPER_SHARES = (
    "derank_tail_5min",
    "derank_tail_15min",
    "derank_tail_1h",
    "derank_tail_6h",
    "derank_tail_24h",
    "good_tail",
    "fresh_tail",
)
_SHARES = (
    "rate_floor",
    "peer_cap",
    "good_ceiling",
    "cover",
    "caller_share",
    "lone_caller_share",
    "change_tail",
    "convicting_floor",
    "convicting_tail",
    "common_cause",
    "trial_share",
    "suspect_chance",
)


@dataclass(frozen=True, slots=True)
class AdaptiveParameters:
    """Parameters of the adaptive rule.

    Rates are failures per router-chosen attempt to call a tool, 0 to 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    phi_start: float = 2.0
    """Design effect without data. Calls fail in clusters, so counts are divided by it."""
    phi_start_weight: float = 20.0
    """Pairs of half-hours as which ``phi_start`` counts.
    14 deployments have 600 pairs a day."""
    phi_max: float = 10.0
    """Largest design effect.
    Measured for sessions of 20 calls with intra-class correlation 0.3: 9.3 to 9.8."""
    peer_calls: int = 50
    """Calls from which a deployment is a peer of others.
    The width of Wilson's interval accounts for so few."""
    peer_z: float = 1.0
    """The z of the upper end of Wilson's interval, the rate that peers count with.
    It prevents strict thresholds from a few lucky calls."""
    deviations: float = 3.0
    """Standard deviations above the median of the others that are abnormal.
    A standard deviation is 1.4826 times the MAD of the other deployments."""
    rate_floor: float = 0.02
    """Least distance above the median that is abnormal.
    Measured among equal deployments: without one, 1 % to 17 % of them are abnormal at every recompute; with 2 points
    at most 0.25 %."""
    peer_cap: float = 0.05
    """Largest distance above the second-best peer (the best of up to 3).
    Measured: 5 points catch 10 bad deployments of 12, where a median cannot; 0.03 is strict: 85 % instead of 70 %
    fewer bad calls on the widest of the measured tables."""
    derank_calls: int = 20
    """Calls that a window needs to derank."""
    derank_tail_5min: float = 0.0001
    """Tail probability below which the failures of 5 minutes derank, z = 3.7.
    It is the exact binomial tail at the threshold. Measured at 100 requests a minute: a break to 25 % is found at
    the next recompute; without this window every second time."""
    derank_tail_15min: float = 0.000233
    """The same tail for 15 minutes, z = 3.5."""
    derank_tail_1h: float = 0.000233
    """The same tail for an hour, z = 3.5."""
    derank_tail_6h: float = 0.000687
    """The same tail for six hours, z = 3.2."""
    derank_tail_24h: float = 0.00135
    """The same tail for a day, z = 3.0.
    Measured with the last four: at most 0.003 false deranks per model and day among equal deployments that fail up
    to 3 %, and a break to 25 % found in 30 calls."""
    common_cause: float = 1.0
    """Share of the median rise of the others by which a window's threshold rises.
    What rises at all others in the same minutes is nobody's fault. 0: it is held against each. Measured with 15 % bad
    calls everywhere for half an hour a day: 0.1 deranks a day among 8 healthy deployments."""
    good_calls: int = 50
    """Calls, times the design effect, that a verification needs."""
    good_tail: float = 0.10
    """Tail probability, at the threshold, below which few failures verify.
    Measured: lets 5.5 % of those pass that fail 1.5 times too often, and 0.2 % at 2.5 times; point estimates pass 75
    % and 30 %."""
    settled_calls: int = 400
    """Calls, times the design effect, that verify without this test.
    The rate must be below the threshold."""
    good_ceiling: float = 0.10
    """Largest rate of a verified deployment, independent of its peers."""
    keep_calls: int = 12
    """Calls in the time to live that keep a deployment verified.
    With fewer it has insufficient data again."""
    ttl_s: float = 86_400.0
    """Time to live of calls."""
    quiet_ttl_s: float = 604_800.0
    """Time to live of calls in quiet model groups, at most 7 days.
    Where it differs from 3 days, the counts of 7 days by 6 hours are read. Measured at one request a minute with 3 days
    against 1: 1.7 % instead of 2.4 % errors."""
    quiet_requests_per_minute: float = 10.0
    """Tool requests a minute below which a model group is quiet."""
    fresh_calls: int = 150
    """Latest calls, times the design effect, that readmission is tested on.
    Without a failure they exclude a rate of 2 %; a longer trial that fails no more often counts whole. Measured: on the
    last day's calls instead it takes twice as long."""
    fresh_tail: float = 0.05
    """Tail probability, at the threshold, below which few failures readmit."""
    change_tail: float = 0.001
    """Tail probability below which a drop of the rate restarts the evidence.
    It compares recent calls with older ones."""
    cover: float = 0.4
    """Share of the weight from which verified deployments carry the traffic alone.
    It refers to all deployments that are not deranked. Measured without such a rule: the first deployments with
    enough calls get all traffic, 15.9 % errors instead of 4.1 %."""
    chance_power: float = 2.0
    """Power of the chance with which an undecided deployment takes part.
    The chance is that of a rate within the threshold; 1 gives each its chance."""
    suspect_chance: float = 0.5
    """Chance below which an undecided deployment is called probably bad.
    It needs ``derank_calls`` calls and a rate above the threshold; 0: none is. The word changes no traffic."""
    prior_failed: float = 0.5
    """Failures of the Beta prior of an unknown deployment's rate.
    With ``prior_worked`` the mean is 10 %, and half of the distribution is below 5 %."""
    prior_worked: float = 4.5
    """Successes of the Beta prior.
    Measured at one request a minute: 3.2 % instead of 6.0 % errors."""
    probe_calls_per_hour: float = 130.0
    """Probe calls an hour for a deployment with insufficient data, in the budget."""
    burst_calls: int = 20
    """Calls of one burst at a deranked deployment.
    After a good burst it is probed steadily until readmission."""
    burst_faults: int = 1
    """Failures that end a burst, and a trial within twice the calls of a burst."""
    trial_faults: int = 3
    """Failures that end the steady probes after a burst.
    At a rate of 0.2 % one of 50 repaired deployments has so many in 300 calls (arithmetic); one at 3 %, just above
    the threshold, has after 100."""
    trial_share: float = 0.10
    """Largest share of tool requests for steady trials without a failure, and for
    newcomers. These are undecided while others carry the traffic, without a failure, and more likely good than not.
    It comes beside the exploration share, and only if that is not below its default; 0: none, and no trial counts
    beyond its latest ``fresh_calls``."""
    burst_pause_s: float = 10_800.0
    """Time to the first burst and between bursts; doubles after every failed one.
    Measured against a trickle and against fixed pauses: the fewest errors (0.16 %) for readmission within 15 h at
    100 requests a minute."""
    burst_pause_max_s: float = 43_200.0
    """Longest time between bursts."""
    caller_share: float = 0.5
    """Largest share of one caller in the calls, and in the failures, of a window."""
    lone_caller_share: float = 0.95
    """Share of a group's calls above which its largest caller is not capped.
    Practically no other caller needs protection then."""
    case_mix_calls: float = 50.0
    """Weight, in calls, of the group's rate in the rate of a complexity bucket."""
    case_mix_min: float = 0.75
    """Least factor on a threshold, for easy requests."""
    case_mix_max: float = 4.0
    """Largest factor on a threshold, for hard requests."""
    min_output_tokens: int = 100
    """Answers with fewer tokens have no throughput.
    Measured for a true 60 tokens/s: 39.7 without a minimum."""
    speed_minutes: int = 50
    """Distinct minutes with measured answers that a throughput needs.
    Load comes in clusters, so minutes count."""
    speed_deviations: float = 2.0
    """Standard deviations of the logarithm below the others' median that are slow."""
    speed_ratio: float = 2.0
    """Least ratio to the median of the others that is slow.
    Measured at 2: 98 % of the deployments at a quarter of their speed are found, 1.6 % of healthy ones of very
    different providers."""
    speed_peers: int = 3
    """Other deployments with a throughput that the comparison requires.
    The published rule requires 4 in all."""
    propensity_deranks: bool = False
    """True if an unusual share of answers with tool calls deranks.
    It is one of the criteria of curated lists, but it follows the requests as well as the deployment, so it is only
    observed by default."""
    propensity_requests: int = 50
    """Tool requests that a share of answers with tool calls needs."""
    propensity_deviations: float = 3.0
    """Standard deviations of the log-odds from the median of the others, on either
    side."""
    propensity_ratio: float = 1.5
    """Least ratio of the odds.
    Measured with it: 3 of 7 known poor deployments found, none flagged falsely."""
    capacity_headroom: float = 1.1
    """Multiple of the traffic that the deployments that are not deranked must be
    able to carry."""
    bad_call_price: float = 20.0
    """Calls that a bad call costs as much as; 0: the thresholds above convict.
    Measured on 23 populations at 100 requests a minute, with ``common_cause``: with 20 the excess of price and bad
    calls over the least possible falls from 0.21 to 0.16 of the usual price."""
    max_cost_premium: float | None = 1.10
    """Mean price, relative to the usual, above which ``bad_call_price`` alone does not
    derank; None: without limit."""
    convicting_floor: float = 0.005
    """``rate_floor`` of the threshold that convicts by price; at or above it: the same.
    The stricter threshold acquits no deployment, so it can be nearer to chance (reasoned, not measured)."""
    convicting_tail: float = 0.1
    """Share of the tail probabilities of a derank at which that threshold convicts; 1: the whole.
    A conviction by price saves little, so it can wait for more evidence; a clear break exceeds the usual threshold."""
    convicting_z: float = 2.0
    """``peer_z`` of the second-best peer in that threshold; at or below ``peer_z``: the same.
    The second-best of many equal hosts is so by chance. Measured with both among fourteen equal hosts: 0.01 false
    deranks a model-day instead of 0.1, in clusters 0.03 instead of 0.7."""
    refusal_hold_s: float = 3600.0
    """Seconds after a refused attempt (429) for which the learned capacity holds.
    It doubles in six times as long then. 0: nothing is learned."""
    refusal_spread: float = 2.5
    """Standard deviations between the requests a minute that a deployment is given and its learned limit.
    Requests arrive at random, so their number in a minute has the variance of its mean: with 2 a limit of 80 is
    exceeded in 1.2 % of the minutes, with 2.5 in 0.2 % (arithmetic)."""

    def __post_init__(self) -> None:
        """Check the range of every number.

        Raises:
            ValueError: a number is out of its range; the message names it.
        """
        for field in fields(self):
            number = getattr(self, field.name)
            if number is None and field.name == "max_cost_premium":
                continue
            least = 1 if field.name in _AT_LEAST_ONE else 0
            if not least <= number <= LARGEST:
                raise ValueError(f"{field.name}: expected a number from {least} to {LARGEST:g}, got {number}")
            if field.name in _PROPER_SHARES and not 0 < number < 0.5:
                raise ValueError(f"{field.name}: expected a number between 0 and 0.5, got {number}")
            if field.name in _SHARES and number > 1:
                raise ValueError(f"{field.name}: expected a number of at most 1, got {number}")
            if field.name in _AT_LEAST_1 and number < 1:
                raise ValueError(f"{field.name}: expected a number of at least 1, got {number}")

    @property
    def derank_tails(self) -> tuple[tuple[float, float], ...]:
        """Windows in seconds with their tail probability of a derank."""
        return (
            (300.0, self.derank_tail_5min),
            (900.0, self.derank_tail_15min),
            (3600.0, self.derank_tail_1h),
            (21_600.0, self.derank_tail_6h),
            (86_400.0, self.derank_tail_24h),
        )
