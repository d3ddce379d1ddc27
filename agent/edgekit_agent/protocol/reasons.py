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
    REPORTS_IN_MEMORY = "reports-in-memory"
    COMMAND_REFUSED = "command-refused"
    METADATA_EXPIRED = "metadata-expired"
    METADATA_UNSIGNED = "metadata-unsigned"
    METADATA_ROLLED_BACK = "metadata-rolled-back"
    METADATA_MISMATCHED = "metadata-mismatched"
    METADATA_INVALID = "metadata-invalid"
    TRUST_MISSING = "trust-missing"
    REPOSITORY_UNREACHABLE = "repository-unreachable"
    REPOSITORY_ANSWER_WRONG = "repository-answer-wrong"
    REDIRECT_REFUSED = "redirect-refused"
    DOWNLOAD_TOO_LONG = "download-too-long"
    DOWNLOAD_TOO_SLOW = "download-too-slow"
    DOWNLOAD_DAMAGED = "download-damaged"
    DEADLINE_PASSED = "deadline-passed"
    TARGET_UNKNOWN = "target-unknown"
    TARGET_NAME_WRONG = "target-name-wrong"
    TARGET_INVALID = "target-invalid"
    TARGET_CHANGED = "target-changed"
    TARGET_TOO_LARGE = "target-too-large"
    HARDWARE_MISMATCH = "hardware-mismatch"
    RELEASE_ROLLED_BACK = "release-rolled-back"
    DISK_FULL = "disk-full"
    UPDATE_BUSY = "update-busy"
    UPDATER_MISSING = "updater-missing"
    FETCH_CRASHED = "fetch-crashed"
    DRIFT_SUSPECTED = "drift-suspected"
    DRIFT_OVER = "drift-over"
    CLOCK_JUMPED = "clock-jumped"
    COMMAND_INVALID = "command-invalid"
    COMMAND_UNKNOWN = "command-unknown"
    COMMAND_TOO_LARGE = "command-too-large"
    COMMAND_EXPIRED = "command-expired"
    COMMAND_REPEATED = "command-repeated"
    COMMAND_BUSY = "command-busy"
    COMMAND_FAILED = "command-failed"
    COMMAND_INTERRUPTED = "command-interrupted"
    KEY_NOT_REMOTE = "key-not-remote"
    KEY_INVALID = "key-invalid"
    WORKER_OUT_OF_MEMORY = "worker-out-of-memory"
    LIMITS_NOT_SET = "limits-not-set"
    FELL_BACK = "fell-back"
    MODEL_UNKNOWN = "model-unknown"
    REPOSITORY_NOT_ALLOWED = "repository-not-allowed"
    BUNDLE_INVALID = "bundle-invalid"
    BUNDLE_UNFIT = "bundle-unfit"
    GOLDEN_MISMATCH = "golden-mismatch"
    LATENCY_EXCEEDED = "latency-exceeded"
    MEMORY_EXCEEDED = "memory-exceeded"
    TRIAL_ERRORS = "trial-errors"
    TRIAL_CRASHES = "trial-crashes"
    TRIAL_QUIET = "trial-quiet"
    REBOOT_LOOP = "reboot-loop"
    UPDATE_LOOP = "update-loop"
    UPDATE_SUPERSEDED = "update-superseded"
    SLOT_DAMAGED = "slot-damaged"
    AGENT_NOT_STARTED = "agent-not-started"
    UPDATE_STARTED = "update-started"
    UPDATE_COMMITTED = "update-committed"
    UPDATE_REJECTED = "update-rejected"
    UPDATE_FAILED = "update-failed"
    GATEWAY_ENDED = "gateway-ended"
    LEASE_AWAITED = "lease-awaited"
    LEASE_MISSING = "lease-missing"


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
        Reason.REPORTS_DROPPED: "Reports were lost: too old, too many, or damaged on the disk.",
        Reason.REPORTS_IN_MEMORY: "The disk does not take reports: they wait in memory.",
        Reason.COMMAND_REFUSED: "A command was not carried out.",
        Reason.METADATA_EXPIRED: "The repository's signed metadata has expired: it must be published again.",
        Reason.METADATA_UNSIGNED: "The repository's metadata lacks valid signatures of enough trusted keys.",
        Reason.METADATA_ROLLED_BACK: "The repository's metadata is older than what this device has seen.",
        Reason.METADATA_MISMATCHED: "The repository's metadata files do not belong together.",
        Reason.METADATA_INVALID: "The repository's metadata cannot be read.",
        Reason.TRUST_MISSING: "The device has no root of trust to check a repository with.",
        Reason.REPOSITORY_UNREACHABLE: "The repository does not answer, or fails.",
        Reason.REPOSITORY_ANSWER_WRONG: "The repository's server answered something else than what was asked.",
        Reason.REDIRECT_REFUSED: "The repository's server points to a host that is not allowed.",
        Reason.DOWNLOAD_TOO_LONG: "More data came than the metadata allows.",
        Reason.DOWNLOAD_TOO_SLOW: "Data came slower than the lowest rate allowed.",
        Reason.DOWNLOAD_DAMAGED: "What was downloaded is not what was signed.",
        Reason.DEADLINE_PASSED: "The time for this step of an update is over.",
        Reason.TARGET_UNKNOWN: "The repository's signed metadata does not name the target.",
        Reason.TARGET_NAME_WRONG: "The target's name is not one that EdgeKit takes.",
        Reason.TARGET_INVALID: "What is signed of the target cannot be used.",
        Reason.TARGET_CHANGED: "The target in the repository is not the one that was announced.",
        Reason.TARGET_TOO_LARGE: "The target is larger than this device takes.",
        Reason.HARDWARE_MISMATCH: "The target is not for this device's hardware.",
        Reason.RELEASE_ROLLED_BACK: "The target's release counter is lower than that of the installed model.",
        Reason.DISK_FULL: "There is not enough room on the device.",
        Reason.UPDATE_BUSY: "Another update is being fetched.",
        Reason.UPDATER_MISSING: "The packages that fetch updates are not installed on this device.",
        Reason.FETCH_CRASHED: "The process that fetches updates died.",
        Reason.DRIFT_SUSPECTED: "What the model sees or answers is unlike the data it was judged on.",
        Reason.DRIFT_OVER: "What the model sees and answers is like the data it was judged on again.",
        Reason.CLOCK_JUMPED: "The device's time of day has jumped.",
        Reason.COMMAND_INVALID: "The command cannot be understood.",
        Reason.COMMAND_UNKNOWN: "The device does not know this command.",
        Reason.COMMAND_TOO_LARGE: "The command is larger than this device takes.",
        Reason.COMMAND_EXPIRED: "The command's time was over when it came or before it was done.",
        Reason.COMMAND_REPEATED: "A command of this id has been carried out before.",
        Reason.COMMAND_BUSY: "The device is busy with something that the command would disturb.",
        Reason.COMMAND_FAILED: "The command was begun and failed.",
        Reason.COMMAND_INTERRUPTED: "The agent ended while the command was carried out.",
        Reason.KEY_NOT_REMOTE: "This key of the configuration cannot be set from afar.",
        Reason.KEY_INVALID: "The value of this key of the configuration is wrong.",
        Reason.WORKER_OUT_OF_MEMORY: "A worker process had not enough memory and is started again.",
        Reason.LIMITS_NOT_SET: "A worker process cannot be held to the limits it is configured with.",
        Reason.FELL_BACK: "A model does not run on the device or delegate it is configured for.",
        Reason.MODEL_UNKNOWN: "The device is not configured to run a model of this name.",
        Reason.REPOSITORY_NOT_ALLOWED: "The device takes no updates from this repository.",
        Reason.BUNDLE_INVALID: "The bundle is damaged, or not of the form its manifest promises.",
        Reason.BUNDLE_UNFIT: "The bundle needs another runtime, or another version of it, than is installed.",
        Reason.GOLDEN_MISMATCH: "The new model does not give the outputs it was published with.",
        Reason.LATENCY_EXCEEDED: "The new model is slower than its manifest allows.",
        Reason.MEMORY_EXCEEDED: "The new model takes more memory than its manifest allows.",
        Reason.TRIAL_ERRORS: "More inferences fail with the new model than with the one before.",
        Reason.TRIAL_CRASHES: "The new model's process died more often than that of the one before.",
        Reason.TRIAL_QUIET: "The new model got no work while the one before did.",
        Reason.REBOOT_LOOP: "The device or its agent started again too often while it tried the new model.",
        Reason.UPDATE_LOOP: "An update was begun again too often and is given up.",
        Reason.UPDATE_SUPERSEDED: "A newer announcement took the place of this update.",
        Reason.SLOT_DAMAGED: "An installed model is not complete on the disk: the one before it is used.",
        Reason.AGENT_NOT_STARTED: "The new version of the agent did not come up: the one before runs.",
        Reason.UPDATE_STARTED: "An update of a model has begun.",
        Reason.UPDATE_COMMITTED: "The new model has proved itself and serves.",
        Reason.UPDATE_REJECTED: "An update was refused; the model that was running goes on.",
        Reason.UPDATE_FAILED: "An update was rolled back; the model that was running goes on.",
        Reason.GATEWAY_ENDED: "The process that serves HTTP on the device ended.",
        Reason.LEASE_AWAITED: "An update waits for the host's leave to go on.",
        Reason.LEASE_MISSING: "The host did not give its leave in time.",
    }
)


def sentence(code: str) -> str:
    """Return the sentence for a code; a code this version does not know is named as it is."""
    try:
        return SENTENCES[Reason(code)]
    except ValueError:
        return f"The device reports '{code}'."
