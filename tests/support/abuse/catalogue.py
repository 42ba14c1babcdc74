"""All attacks, with their callers, their periods, and the answers that are allowed."""

from support.abuse import bodies, credentials, database, event_streams, messages, reads, requests, runs
from support.abuse.attack import Attack

_SERVED = frozenset({"200", "429", "503"})
_REFUSED = frozenset({"400", "401", "403", "404", "405", "413", "422", "429", "503"})
_CLOSED = frozenset({"closed", "ReadError", "WriteError", "RemoteProtocolError"})
"""The server may close the connection of a request that it refuses before it has read the body."""

ATTACKS = (
    Attack(run=event_streams.abandoned_event_streams, caller="viewer", every=15, allowed=_SERVED | {"an id"}),
    Attack(run=event_streams.event_streams_to_the_limit, caller="viewer", every=20, allowed=_SERVED),
    Attack(
        run=event_streams.event_ids_ahead_of_the_topics,
        caller="operator",
        every=20,
        allowed=frozenset({"an id", "reset"}),
    ),
    Attack(run=credentials.guessed_tokens, caller="anyone", every=1, allowed=frozenset({"401", "429", "503"})),
    Attack(
        run=credentials.refusals_that_hide_another, caller="viewer", every=20, allowed=frozenset({"403", "429", "503"})
    ),
    Attack(run=credentials.credentials_at_odd_places, caller="viewer", every=20, allowed=_SERVED | _REFUSED),
    Attack(run=credentials.tokens_of_sessions, caller="admin", every=30, allowed=_SERVED | _REFUSED | {"201", "204"}),
    Attack(run=bodies.large_bodies_without_the_role, caller="viewer, operator", every=10, allowed=_REFUSED | _CLOSED),
    Attack(run=bodies.repeated_names, caller="operator, admin", every=15, allowed=_REFUSED | _CLOSED),
    Attack(run=bodies.yaml_with_many_nodes, caller="admin", every=20, allowed=_REFUSED | _CLOSED),
    Attack(run=reads.concurrent_exports, caller="viewer", every=15, allowed=_SERVED),
    Attack(run=reads.expensive_reads, caller="operator", every=15, allowed=_SERVED),
    Attack(run=reads.bursts_of_requests, caller="viewer", every=15, allowed=_SERVED),
    Attack(run=reads.descriptions_without_a_credential, caller="anyone", every=15, allowed=_SERVED),
    Attack(run=runs.bulk_triggers, caller="operator", every=6, allowed=_SERVED),
    Attack(run=runs.enabling_and_disabling, caller="operator", every=5, allowed=_SERVED),
    Attack(run=runs.triggers_of_one_config, caller="operator", every=5, allowed=_SERVED | {"202"}),
    Attack(run=requests.odd_requests, caller="viewer, operator", every=15, allowed=_REFUSED),
    Attack(run=requests.half_open_requests, caller="viewer", every=10, allowed=frozenset({"closed"})),
    Attack(run=requests.contradictory_lengths, caller="viewer", every=10, allowed=_REFUSED | {"200", "closed"}),
    Attack(
        run=requests.cross_origin_calls_of_the_simulator,
        caller="another web site",
        every=10,
        allowed=frozenset({"400", "403", "415"}),
    ),
    Attack(run=messages.values_out_of_range, caller="a Kafka client", every=60, allowed=frozenset({"acknowledged"})),
    Attack(
        run=database.sql_with_the_role_of_a_service,
        caller="the role of each service",
        every=60,
        allowed=frozenset({"InsufficientPrivilegeError"}),
    ),
)
"""The requests of all attacks together are about forty a second."""
