"""longfold's memory agent: reads documents of any length chunk by chunk, and folds what matters into a small memory.

A pure core (`Fold`, profiles, provenance, citations) with drivers outside. Knows no web server, no store and no
training. What needs httpx or a tokenizer library is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from longfold_agent.chunks import chunks
from longfold_agent.citations import Citation, cite, cite_direct
from longfold_agent.decompose import Decomposition, decompose
from longfold_agent.drive import Rollout, Turn, batch, read_reply, stream
from longfold_agent.errors import (
    AgentError,
    ContextOverflow,
    DirectTooLarge,
    EngineError,
    EngineOverloaded,
    EngineProtocolError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    InvalidReply,
    ResumeRefused,
    TemplateError,
    TokenizerError,
    Unsupported,
    WindowTooSmall,
)
from longfold_agent.fold import Fold, Phase
from longfold_agent.neutralise import neutralise
from longfold_agent.profiles import load as load_profile
from longfold_agent.protocols import Budgets, Delta, Engine, Profile, Reader, Request, Tokens
from longfold_agent.provenance import Line, Provenance, Source
from longfold_agent.route import Mode, RouteDecision, check_step_fits, route
from longfold_agent.types import (
    Answer,
    Call,
    CallKind,
    Chunk,
    Completion,
    EndOfText,
    FinalText,
    Message,
    Position,
    Prompt,
    Query,
    Reply,
    Sampling,
    Step,
    Stop,
    Update,
    UpdateKind,
    Usage,
)

if TYPE_CHECKING:
    from longfold_agent.engines.scripted import ScriptedEngine
    from longfold_agent.engines.vllm import VLLMEngine
    from longfold_agent.tokens import load_tokens

__all__ = [
    "AgentError",
    "Answer",
    "Budgets",
    "Call",
    "CallKind",
    "Chunk",
    "Citation",
    "Completion",
    "ContextOverflow",
    "Decomposition",
    "Delta",
    "DirectTooLarge",
    "EndOfText",
    "Engine",
    "EngineError",
    "EngineOverloaded",
    "EngineProtocolError",
    "EngineRejected",
    "EngineTimeout",
    "EngineUnavailable",
    "FinalText",
    "Fold",
    "InvalidReply",
    "Line",
    "Message",
    "Mode",
    "Phase",
    "Position",
    "Profile",
    "Prompt",
    "Provenance",
    "Query",
    "Reader",
    "Reply",
    "Request",
    "ResumeRefused",
    "Rollout",
    "RouteDecision",
    "Sampling",
    "ScriptedEngine",
    "Source",
    "Step",
    "Stop",
    "TemplateError",
    "TokenizerError",
    "Tokens",
    "Turn",
    "Unsupported",
    "Update",
    "UpdateKind",
    "Usage",
    "VLLMEngine",
    "WindowTooSmall",
    "batch",
    "check_step_fits",
    "chunks",
    "cite",
    "cite_direct",
    "decompose",
    "load_profile",
    "load_tokens",
    "neutralise",
    "read_reply",
    "route",
    "stream",
]

_LATE = {
    "ScriptedEngine": "longfold_agent.engines.scripted",
    "VLLMEngine": "longfold_agent.engines.vllm",
    "load_tokens": "longfold_agent.tokens",
}


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
