"""What can go wrong between us and an LLM: each says whether the whole run stops, or one request alone.

XtuneError
`-- LLMError              the run stops, what is done is kept    exit 2
    |-- AccountError      wrong key, no money, no such model: asking again cannot help
    |-- ServerFailing     the server went on failing after every retry
    `-- LimitReached      the budget or the token limit that the person set
Stopped                   not asked any more: the run is stopping
RequestRefused            this one request cannot be answered; the run goes on
"""

from xtune.errors import XtuneError


class LLMError(XtuneError):
    """An LLM that cannot be asked, or not any further."""


class AccountError(LLMError):
    """Asking again cannot help until the person changes something: the key, the account, the model's name."""


class ServerFailing(LLMError):  # noqa: N818 - a state, like Interrupted
    """The server kept failing; the same command goes on where this one stopped."""


class LimitReached(LLMError):  # noqa: N818 - not a failure: a limit that the person set
    """The budget or the token limit is used up."""


class Stopped(Exception):  # noqa: N818 - what happened, not an error
    """The run is stopping and this request was not sent any more."""


class RequestRefused(Exception):  # noqa: N818 - what happened to one request
    """The server will never answer this one request: it is too long, or against the provider's rules."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        """A short stable name that is counted: `request_refused`, `no_answer`."""

        self.detail = detail
