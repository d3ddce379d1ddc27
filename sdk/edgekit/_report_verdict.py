"""What the report's page says first: which artifact to take, what that gains, and what was rejected and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgekit._report import SLOWER
from edgekit._report_words import (
    FLOAT,
    Document,
    Judged,
    Metric,
    agreement_text,
    base_of,
    is_slower,
    name_of,
    share_text,
    size_text,
    smaller_text,
    speed_text,
    time_text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of an artifact: the big one, and what it rests on; `mood` is good, bad or empty."""

    label: str
    value: str
    notes: tuple[str, ...] = ()
    mood: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """The artifact of a format to take and why; `name` is None where nothing passes."""

    format: str
    name: str | None
    why: str
    path: str | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The headline: `gate` is passed, unmet or none; reasons are (name, why) pairs."""

    gate: str
    said: str
    counted: str
    takes: tuple[Take, ...]
    rejected: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    slower: tuple[tuple[str, str], ...]


def picked(document: Document) -> Document:
    """Return a report's document with an artifact of every format chosen, where one is fit.

    Where `auto` chose none it is the fastest that passes and is not slower than float; without latency the smallest.
    """
    artifacts: Sequence[Document] = document["artifacts"]
    best = [_best([one for one in artifacts if one["format"] == name]) for name in _formats(artifacts)]
    marked = [{**one, "chosen": one["chosen"] or any(one is pick for pick in best)} for one in artifacts]
    return {**document, "artifacts": marked}


def _formats(artifacts: Sequence[Document]) -> list[str]:
    return list(dict.fromkeys(one["format"] for one in artifacts))


def _best(own: Sequence[Document]) -> Document | None:
    if any(one["chosen"] for one in own):
        return None
    fit = [
        one for one in own if one["status"] == "ok" and not (one["accuracy"] and one["accuracy"]["artifact"] is None)
    ]
    timed = [one for one in fit if one["latency"] and not is_slower(one)]
    if timed:
        return min(timed, key=lambda one: (one["latency"]["p50_ms"], one["size_bytes"] or 0))
    return min(fit, key=lambda one: one["size_bytes"] or 0, default=None)


def verdict(document: Document) -> Verdict:
    """Judge a report's document, artifacts picked."""
    artifacts: Sequence[Document] = document["artifacts"]
    by_status = {status: [one for one in artifacts if one["status"] == status] for status in ("rejected", "failed")}
    takes = tuple(
        take for name in _formats(artifacts) for take in _takes(name, artifacts, document["data"].get("max_drop"))
    )
    gate, said = _gate(document, takes)
    return Verdict(
        gate=gate,
        said=said,
        counted=_counted(artifacts),
        takes=takes,
        rejected=_reasons(by_status["rejected"]),
        failed=_reasons(by_status["failed"]),
        slower=tuple(
            (name_of(one), f"{time_text(one['latency']['p50_ms'])}, float {time_text(one['latency']['source_p50_ms'])}")
            for one in artifacts
            if is_slower(one) and one["status"] == "ok"
        ),
    )


def _gate(document: Document, takes: Sequence[Take]) -> tuple[str, str]:
    asked = document["data"].get("max_drop") is not None
    asked = asked or any(one["status"] == "rejected" for one in document["artifacts"])
    judged = Judged.of(document)
    if not asked:
        return (
            "none",
            "No gate was asked" if judged.by_labels else "Not judged on labels: agreement with the source only",
        )
    limit = document["data"].get("max_drop")
    said = "" if limit is None else f": {judged.metric.name} may be at most {judged.metric.amount(limit)} worse"
    if any(take.name for take in takes):
        return "passed", f"Gate passed{said}"
    return "unmet", f"Gate not met{said}"


def _counted(artifacts: Sequence[Document]) -> str:
    made = {"ok": "fit to use", "rejected": "rejected", "failed": "not made"}
    counts = [(sum(one["status"] == status for one in artifacts), said) for status, said in made.items()]
    total = f"{len(artifacts)} candidate{'s' if len(artifacts) != 1 else ''}"
    return (
        f"{total}: {', '.join(f'{count} {said}' for count, said in counts if count)}" if artifacts else "no candidates"
    )


def _reasons(artifacts: Iterable[Document]) -> tuple[tuple[str, str], ...]:
    return tuple((name_of(one), one["reason"] or "") for one in artifacts)


def _takes(name: str, artifacts: Sequence[Document], max_drop: float | None) -> list[Take]:
    own = [one for one in artifacts if one["format"] == name]
    chosen = [_take(one, artifacts, _why(one, own, max_drop)) for one in own if one["chosen"]]
    return chosen or [Take(format=name, name=None, why="nothing passes")]


def _why(artifact: Document, own: Sequence[Document], max_drop: float | None) -> str:
    if len(own) == 1:
        return "the only candidate"
    passes = " that passes" if max_drop is not None or any(one["status"] == "rejected" for one in own) else ""
    if artifact["latency"] is None:
        return f"the smallest{passes}; latency was not measured"
    if artifact["precision"] == FLOAT:
        return f"the float model: nothing faster{passes or ' was made'}"
    return f"the fastest{passes}"


def _take(artifact: Document, artifacts: Sequence[Document], why: str) -> Take:
    base = base_of(artifact, artifacts)
    facts = (_quality(artifact), _speed(artifact), _size(artifact, base))
    return Take(
        format=artifact["format"],
        name=artifact["precision"],
        why=why,
        path=artifact["path"],
        facts=tuple(fact for fact in facts if fact),
    )


def _quality(artifact: Document) -> Fact | None:
    accuracy, agreement = artifact["accuracy"], artifact["agreement"]
    if accuracy:
        metric = Metric.of(accuracy)
        interval = "" if None in accuracy["ci95"] else f"95 %: {metric.span(accuracy['ci95'])}"
        notes = [interval, metric.against_source(accuracy["drop"]), metric.drop_span(accuracy)]
        if within_noise(accuracy):
            notes.append(f"within the noise of {accuracy['samples']:,} samples")
        return Fact(label=metric.name, value=metric.text(accuracy["artifact"]), notes=tuple(filter(None, notes)))
    if not agreement:
        return None
    samples = f"on {agreement['samples']:,} sample{'s' if agreement['samples'] != 1 else ''}, against the source"
    if agreement["top1"] is None:
        return Fact(label="signal to noise", value=agreement_text(agreement), notes=(samples,))
    noise = f"signal to noise {agreement_text(agreement)}"
    return Fact(label="same top-1", value=share_text(agreement["top1"]), notes=(samples, noise))


def within_noise(accuracy: Document) -> bool:
    """Return whether a difference from the source is less than the samples can tell: no zero outside its interval.

    The interval of the difference where the document has one (`drop_ci95`), else half of the accuracy's own.
    """
    drop, paired, (low, high) = accuracy["drop"], accuracy["drop_ci95"], accuracy["ci95"]
    if not drop:
        return False
    if paired and None not in paired:
        return bool(paired[0] <= 0 <= paired[1])
    return low is not None and high is not None and abs(drop) < (high - low) / 2


def _speed(artifact: Document) -> Fact | None:
    latency = artifact["latency"]
    if not latency:
        return None
    if latency["speedup"] is None or artifact["precision"] == FLOAT:
        return Fact(label="p50 latency", value=time_text(latency["p50_ms"]), notes=(f"on {latency['runtime']}",))
    notes = (time_text(latency["p50_ms"]), f"float {time_text(latency['source_p50_ms'])}", f"on {latency['runtime']}")
    mood = "bad" if is_slower(artifact) else "good" if latency["speedup"] > 2 - SLOWER else ""
    return Fact(label="p50 latency", value=speed_text(latency["speedup"]), notes=notes, mood=mood)


def _size(artifact: Document, base: Document | None) -> Fact | None:
    size = artifact["size_bytes"]
    if not size:
        return None
    if base is None or base is artifact or not base["size_bytes"]:
        return Fact(label="size", value=size_text(size), notes=_weights(artifact, None))
    notes = (size_text(size), f"float {size_text(base['size_bytes'])}", *_weights(artifact, base))
    mood = "good" if size < base["size_bytes"] else ""
    return Fact(label="size", value=smaller_text(base["size_bytes"], size), notes=notes, mood=mood)


def _weights(artifact: Document, base: Document | None) -> tuple[str, ...]:
    weights = artifact["weights_bytes"]
    if weights is None:
        return ()
    if base is None or not base["weights_bytes"]:
        return (f"weights {size_text(weights)}",)
    return (f"weights {size_text(weights)}, {smaller_text(base['weights_bytes'], weights)}",)
