"""Dead letters: messages that cannot be read or handled, stored with all that is needed to inspect and replay them.

`python -m runtime.dead_letters` lists, shows and replays them.
"""

from runtime.dead_letters.limits import TooManyDeadLetters
from runtime.dead_letters.sending import DeadLetters, dead_letter

__all__ = ["DeadLetters", "TooManyDeadLetters", "dead_letter"]
