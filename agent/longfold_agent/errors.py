"""The agent's exceptions.

AgentError
├── InvalidReply                 a reply that cannot be used where there is no INVALID update for it
├── Unsupported                  the profile or engine has no such call
├── ResumeRefused                a saved state belongs to another profile, tokenizer or chunk budget
├── TokenizerError               a tokenizer file that cannot be read or trusted
├── TemplateError                an operator's prompt template is missing, unreadable or has wrong slots
├── WindowTooSmall               template, memory, one chunk and the output do not fit the served window
├── DirectTooLarge               the single pass was asked for, and the documents do not fit the window
└── EngineError                  an engine did not give a completion
    ├── EngineUnavailable        connection refused or lost, worker died, 5xx; try again
    ├── EngineOverloaded         the queue is full (503/429); try again later
    ├── EngineTimeout            no reply within the time limit; try again
    ├── ContextOverflow          prompt longer than the window; retrying cannot help
    ├── EngineRejected           bad parameter, unknown model, bad key; retrying cannot help
    └── EngineProtocolError      a stream that broke the protocol (error object, no finish_reason, no [DONE]); try again
"""

from __future__ import annotations


class AgentError(Exception):
    """Root of every exception the agent raises on purpose."""


class InvalidReply(AgentError, ValueError):
    """The model's reply cannot be used."""


class Unsupported(AgentError):
    """The profile or the engine has no such call."""


class ResumeRefused(AgentError):
    """The saved state was made under another profile, tokenizer or chunk budget."""


class TokenizerError(AgentError, ValueError):
    """A tokenizer file is missing, unreadable or of an unknown kind."""


class WindowTooSmall(AgentError, ValueError):
    """One step does not fit the served window; the message holds every term of the sum."""


class TemplateError(AgentError, ValueError):
    """A prompt template is missing, unreadable, or has an unknown, missing or malformed slot."""


class DirectTooLarge(AgentError, ValueError):
    """The single pass was asked for, and the documents do not fit the served window; the message holds the numbers."""


class EngineError(AgentError):
    """An engine did not give a completion."""

    retryable = False


class EngineUnavailable(EngineError, ConnectionError):
    """Connection refused or lost, a worker died, or a 5xx."""

    retryable = True


class EngineOverloaded(EngineError):
    """The engine's queue is full."""

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineTimeout(EngineError, TimeoutError):
    """No reply within the limit."""

    retryable = True


class EngineProtocolError(EngineError):
    """A reply that broke the protocol: an error object in a stream, no finish_reason, no [DONE]."""

    retryable = True


class ContextOverflow(EngineError):
    """The prompt is longer than the served window."""

    def __init__(self, message: str, prompt_tokens: int | None = None, window: int | None = None) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.window = window


class EngineRejected(EngineError):
    """A bad parameter, an unknown model or a bad key."""
