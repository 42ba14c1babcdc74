"""The limits of failed logins per address. They prevent that guesses overload the database. A valid credential is never
refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from admin_api.auth.identity import Identity, TooManyFailures, Unauthorized
from admin_api.http.request_cost import TokenBuckets


@dataclass(frozen=True)
class FailedLogins:
    """Two token buckets per address, so that one kind of guess does not use up the limit of the other one.

    `monotonic` is the monotonic clock in seconds.
    """

    malformed: TokenBuckets
    """The buckets for credentials that are refused without a query."""
    unknown: TokenBuckets
    """The buckets for credentials that are not in the database."""

    @classmethod
    def limited_to(cls, per_minute: int) -> "FailedLogins":
        """Limits with this number per minute and address, for each kind of guess."""
        return cls(
            TokenBuckets(capacity=per_minute, per_minute=per_minute),
            TokenBuckets(capacity=per_minute, per_minute=per_minute),
        )

    async def look_up(self, find: Callable[[], Awaitable[Identity]], address: str, monotonic: float) -> Identity:
        """The owner of a credential, as `find` returns it.

        A valid credential takes nothing from the limit, and is found even when the limit is exceeded. Raises the errors
        of `find`, and `TooManyFailures` instead of `Unauthorized` for a guess over the limit.
        """
        within_limit = self.unknown.take(address, monotonic)
        is_guess = False
        try:
            return await find()
        except Unauthorized as refusal:
            is_guess = refusal.counts_as_failed_login
            if is_guess and not within_limit:
                raise self._too_many(self.unknown, address, monotonic) from refusal
            raise
        finally:
            if within_limit and not is_guess:
                self.unknown.give_back(address, monotonic)

    def refused(self, refusal: Unauthorized, address: str, monotonic: float) -> Unauthorized | TooManyFailures:
        """Count a credential that was refused without the database. Returns the error to raise."""
        if refusal.counts_as_failed_login and not self.malformed.take(address, monotonic):
            return self._too_many(self.malformed, address, monotonic)
        return refusal

    def _too_many(self, buckets: TokenBuckets, address: str, monotonic: float) -> TooManyFailures:
        return TooManyFailures(max(1, buckets.seconds_until_one(address, monotonic)))
