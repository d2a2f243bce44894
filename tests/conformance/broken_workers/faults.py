"""The faults that the broken worker can have, each with the rules that it breaks."""

from __future__ import annotations

OTHERS_TOO = "*"
"""The fault also breaks rules that are not about it."""

FAULTS: dict[str, tuple[str, ...]] = {
    "second-hello": ("hello-comes-first",),
    "short-lease": ("hello-is-valid",),
    "no-credit": ("credit-is-given", OTHERS_TOO),
    "hoard-credit": ("credit-is-bounded", "credit-ends-with-its-stream"),
    "no-more-credit": ("credit-comes-back", OTHERS_TOO),
    "no-acknowledge": ("leases-are-acknowledged", OTHERS_TOO),
    "begin-prefetched": ("a-prefetched-lease-begins-or-is-released",),
    "trim-token": ("tokens-are-opaque",),
    "text-output": ("output-is-the-result", "a-message-carries-many-leases"),
    "first-only": ("a-message-carries-many-leases", "output-is-the-result"),
    "needs-input": ("input-may-be-absent",),
    "swallow-failure": ("failures-are-failed",),
    "once-only": ("another-attempt-is-run-again", "a-lost-lease-does-not-stop-its-next-attempt"),
    "silent": (
        "silence-is-shorter-than-a-lease",
        "a-drain-keeps-its-leases",
        "what-runs-goes-on-over-a-reconnect",
    ),
    "no-deadline": (
        "an-attempt-stops-at-its-deadline",
        "a-clock-that-is-ahead-stops-nothing-late",
    ),
    "own-clock": (
        "a-clock-that-is-ahead-stops-nothing-late",
        "a-clock-that-is-behind-stops-nothing-early",
    ),
    "insist": ("a-stale-outcome-is-accepted", "a-loss-may-cross-a-report"),
    "shrug": ("a-refused-result-is-failed", "outcomes-answer-in-order"),
    "give-up": ("a-refusal-that-passes-is-said-again",),
    "answer-last": ("outcomes-answer-in-order",),
    "drop-crossed": ("a-loss-may-cross-a-report",),
    "trust-late": ("late-words-are-ignored",),
    "ignore-cancel": ("a-cancelled-lease-is-reported-within-the-grace",),
    "ignore-flag": ("a-lease-that-comes-cancelled-is-not-kept",),
    "report-lost": ("a-lost-lease-is-dropped",),
    "lose-by-execution": ("a-lost-lease-does-not-stop-its-next-attempt",),
    "forget-reports": ("a-report-is-kept-until-its-outcome",),
    "restart-runs": ("what-runs-goes-on-over-a-reconnect",),
    "ignore-welcome": ("what-is-not-welcome-is-lost",),
    "keep-credit": ("credit-ends-with-its-stream", OTHERS_TOO),
    "busy-loop": ("a-server-that-is-away-is-waited-for",),
    "ignore-retry-after": ("a-retry-after-is-waited-for",),
    "no-reconnect": ("a-stream-that-ends-well-is-opened-again", OTHERS_TOO),
    "impatient": ("a-server-may-come-later",),
    "repeat-faulty": ("a-faulty-message-is-not-repeated",),
    "abrupt-stop": ("a-drain-finishes-what-runs", OTHERS_TOO),
    "credit-in-drain": (
        "a-drain-finishes-what-runs",
        "a-drain-outlives-its-stream",
        "a-server-that-drains-is-left-and-found-again",
    ),
    "drop-at-drain": ("a-drain-gives-back-what-outlasts-it",),
    "no-wait-outcomes": ("a-drain-waits-for-outcomes",),
    "drop-late": (
        "a-lease-that-crosses-a-drain-is-not-lost",
        "a-lease-that-crosses-the-half-close-is-not-lost",
    ),
    "linger": ("an-idle-worker-drains-at-once", OTHERS_TOO),
    "ignore-server-drain": ("a-server-that-drains-is-left-and-found-again",),
    "mute-drain": ("a-drain-keeps-its-leases",),
    "leave-when-broken": ("a-drain-outlives-its-stream",),
    "wait-for-server": ("a-drain-needs-no-server",),
    "choke-on-unknown": ("what-is-not-known-is-ignored",),
}
