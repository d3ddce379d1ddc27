"""A model that runs elsewhere than it was meant to is told."""

from collections.abc import Callable
from typing import Any

import pytest

from edgekit_agent.actions import Action, Send, WorkerId
from edgekit_agent.config import AgentConfig
from edgekit_agent.core import Core
from edgekit_agent.fallback import fell_back
from edgekit_agent.protocol import Event


@pytest.mark.parametrize(
    ("device", "delegate", "executed_on", "missed"),
    [
        ("CPU", None, ["CPU"], []),
        ("NPU", None, ["NPU"], []),
        ("NPU", None, ["CPU"], ["NPU"]),
        ("GPU", None, ["GPU.0"], []),
        ("GPU.1", None, ["GPU.0"], ["GPU.1"]),
        ("AUTO", None, ["CPU"], []),
        ("AUTO:GPU,CPU", None, ["CPU"], ["GPU"]),
        ("AUTO:GPU,CPU", None, ["GPU"], []),
        ("AUTO:CPU,GPU", None, ["CPU"], []),
        ("AUTO:-CPU,GPU", None, ["CPU"], ["GPU"]),
        ("HETERO:NPU,CPU", None, ["NPU", "CPU"], []),
        ("HETERO:NPU,CPU", None, ["CPU"], ["NPU"]),
        ("MULTI:GPU(4),CPU", None, ["CPU"], ["GPU"]),
        ("cuda", None, ["CUDA", "CPU"], []),
        ("CUDA", None, ["CPU"], ["CUDA"]),
        ("CPU", "/usr/lib/libedgetpu.so.1", ["libedgetpu.so.1", "CPU"], []),
        ("CPU", "/usr/lib/libedgetpu.so.1", ["CPU"], ["libedgetpu.so.1"]),
        ("CPU", "libedgetpu.so.1", ["libedgetpu.so.1"], []),
    ],
)
def test_what_was_asked_for_and_executes_nothing_is_found(
    device: str, delegate: str | None, executed_on: list[str], missed: list[str]
) -> None:
    assert list(fell_back(device=device, delegate=delegate, executed_on=executed_on)) == missed


ASKED = {"asked": {"device": "AUTO:NPU,CPU", "delegate": None}}


class TestCore:
    WORKER = WorkerId("kws", 1)

    @pytest.fixture
    def core(self, agent_config: AgentConfig, at: Callable[[float], Any]) -> Core:
        core = Core(agent_config, "0f3c", {}, {})
        core.start(at(0))
        return core

    def events(self, actions: list[Action]) -> list[tuple[str, Any]]:
        found = [one.message for one in actions if isinstance(one, Send) and isinstance(one.message, Event)]
        return [(one.level, one.detail.get("asked")) for one in found if one.code == "fell-back"]

    def test_it_is_told_once_and_again_when_it_changes(
        self, core: Core, at: Callable[[float], Any], ready: dict[str, Any], measured: Callable[..., dict[str, Any]]
    ) -> None:
        assert self.events(core.ready(self.WORKER, {**ready, **ASKED}, at(1))) == [("warning", ["NPU"])]
        assert self.events(core.ready(self.WORKER, {**ready, **ASKED}, at(2))) == []
        assert self.events(core.measured(self.WORKER, measured(executed_on=["NPU"]), at(3))) == []
        assert self.events(core.measured(self.WORKER, measured(executed_on=["CPU"]), at(4))) == [("warning", ["NPU"])]

    def test_a_model_that_runs_where_it_is_to_run_is_not_told(
        self, core: Core, at: Callable[[float], Any], ready: dict[str, Any]
    ) -> None:
        assert self.events(core.ready(self.WORKER, {**ready, **ASKED, "executed_on": ["NPU"]}, at(1))) == []
