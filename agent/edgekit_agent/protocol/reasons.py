"""Reason codes of events: append-only, each with a sentence a person can read."""

from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """Why something happened on a device. Never rename or remove a member: old devices send it."""

    AGENT_STARTED = "agent-started"
    AGENT_STOPPED = "agent-stopped"
    MODEL_READY = "model-ready"
    MODEL_LOAD_FAILED = "model-load-failed"
    RUNTIME_MISSING = "runtime-missing"
    WORKER_CRASHED = "worker-crashed"
    WORKER_HUNG = "worker-hung"
    WORKER_RESTARTED = "worker-restarted"
    CRASH_LOOP = "crash-loop"
    SOURCE_FAILED = "source-failed"
    SOURCE_FINISHED = "source-finished"
    INFERENCE_FAILED = "inference-failed"
    REPORTS_DROPPED = "reports-dropped"
    COMMAND_REFUSED = "command-refused"


SENTENCES = MappingProxyType(
    {
        Reason.AGENT_STARTED: "The agent has started.",
        Reason.AGENT_STOPPED: "The agent was asked to stop.",
        Reason.MODEL_READY: "The model is loaded and answers.",
        Reason.MODEL_LOAD_FAILED: "The model could not be loaded.",
        Reason.RUNTIME_MISSING: "No installed runtime can run the model.",
        Reason.WORKER_CRASHED: "The process running the model died.",
        Reason.WORKER_HUNG: "The process running the model stopped answering and was ended.",
        Reason.WORKER_RESTARTED: "The process running the model was started again.",
        Reason.CRASH_LOOP: "The process running the model died too often and is left stopped.",
        Reason.SOURCE_FAILED: "The model's data source cannot be read.",
        Reason.SOURCE_FINISHED: "The model's data source has no more data.",
        Reason.INFERENCE_FAILED: "An inference failed.",
        Reason.REPORTS_DROPPED: "Reports were dropped because the buffer was full.",
        Reason.COMMAND_REFUSED: "A command was not carried out.",
    }
)


def sentence(code: str) -> str:
    """Return the sentence for a code; a code this version does not know is named as it is."""
    try:
        return SENTENCES[Reason(code)]
    except ValueError:
        return f"The device reports '{code}'."
