"""What follows from announcements, trials and what is found, without a device."""

from dataclasses import replace

import pytest

from edgekit_agent.config import UpdateConfig
from edgekit_agent.crew import Tally
from edgekit_agent.protocol import Desired, DesiredModel, Reason
from edgekit_agent.update import rules
from edgekit_agent.update.records import Installed, Outcome, Phase, Record, Records, Update, Wanted
from edgekit_agent.update.telling import Way, reported
from edgekit_agent.update.trial import verdict
from edgekit_agent.update.updater import Refused

KNOWN = frozenset({"kws"})
CURRENT = Installed(slot="a", version="1.0.0", sha256="a" * 64, counter=5)
WANTED = Wanted(v=1, version="2.0.0")
CONFIG = UpdateConfig(trial_s=60, trial_inferences=10, trial_limit_s=600)


def desired(v: int, version: str = "2.0.0", name: str = "kws") -> Desired:
    return Desired(version=v, models=(DesiredModel(name=name, version=version),))


def at(phase: Phase, record: Record | None = None, **changes: object) -> Record:
    update = Update(wanted=WANTED, phase=phase, **changes)  # type: ignore[arg-type]  # fields of it
    return replace(record or Record(wanted=WANTED), update=update)


class TestAnnouncements:
    def test_only_a_newer_one_changes_anything(self) -> None:
        records = rules.announced(Records(), desired(3), KNOWN)
        assert records.v == 3
        for old in (3, 2, -1):
            assert rules.announced(records, desired(old, "9.0.0"), KNOWN) is records

    def test_a_model_that_is_not_configured_is_refused_by_name(self) -> None:
        record = rules.announced(Records(), desired(1, name="../etc"), KNOWN).of("../etc")
        assert record.outcome is not None
        assert (record.outcome.phase, record.outcome.reason) == ("rejected", "model-unknown")
        assert rules.due(record) is None

    def test_what_is_installed_is_not_installed_again(self) -> None:
        record = Record(current=CURRENT, wanted=Wanted(v=1, version="1.0.0"))
        following = rules.due(record)
        assert following is not None
        assert following.update is None
        assert following.outcome is not None
        assert following.outcome.phase == "committed"

    def test_the_same_version_with_another_digest_is_another_release(self) -> None:
        following = rules.due(Record(current=CURRENT, wanted=Wanted(v=1, version="1.0.0", sha256="b" * 64)))
        assert following is not None
        assert following.update is not None

    @pytest.mark.parametrize("phase", [phase for phase, step in rules.STEPS.items() if step.replaceable])
    def test_a_newer_one_supersedes_an_update_that_has_not_begun_its_trial(self, phase: Phase) -> None:
        records = rules.announced(Records(models={"kws": at(phase)}), desired(2, "2.1.0"), KNOWN)
        record = records.of("kws")
        assert record.update is None
        assert record.outcome is not None
        assert record.outcome.phase == "superseded"
        following = rules.due(record)
        assert following is not None
        assert following.update is not None
        assert following.update.wanted.version == "2.1.0"

    def test_in_its_trial_it_goes_back_because_once_committed_there_is_no_way_back(self) -> None:
        record = rules.announced(Records(models={"kws": at(Phase.TRIAL)}), desired(2, "1.0.0"), KNOWN).of("kws")
        assert record.update is not None
        assert (record.update.phase, record.update.reason) == ("rolling_back", "update-superseded")

    @pytest.mark.parametrize("phase", [Phase.COMMITTED, Phase.CLEANUP, Phase.ROLLING_BACK, Phase.REJECTED])
    def test_later_it_waits_until_the_update_has_ended(self, phase: Phase) -> None:
        record = rules.announced(Records(models={"kws": at(phase)}), desired(2, "2.1.0"), KNOWN).of("kws")
        assert record.update == at(phase).update
        assert record.wanted is not None
        assert record.wanted.version == "2.1.0"

    @pytest.mark.parametrize("phase", [Phase.DOWNLOADING, Phase.TRIAL])
    def test_the_same_again_under_another_number_goes_on(self, phase: Phase) -> None:
        record = rules.announced(Records(models={"kws": at(phase)}), desired(2), KNOWN).of("kws")
        assert record.update is not None
        assert (record.update.phase, record.update.wanted.v) == (phase, 2)


class TestOffers:
    """What a device finds in the repository by itself."""

    def test_a_higher_release_counter_is_news_and_no_other_is(self) -> None:
        record = Record(current=CURRENT)
        assert rules.offered(record, WANTED, 6) is not None
        assert rules.offered(record, WANTED, 5) is None
        assert rules.offered(at(Phase.TRIAL, record), WANTED, 6) is None

    @pytest.mark.parametrize(
        ("phase", "reason", "again"),
        [
            ("failed", "golden-mismatch", False),
            ("failed", "disk-full", True),
            ("rejected", "hardware-mismatch", False),
            ("rejected", "repository-unreachable", True),
        ],
    )
    def test_what_this_device_cannot_use_is_not_tried_again(
        self, phase: str, reason: str, again: bool
    ) -> None:  # a column
        wanted = replace(WANTED, sha256="b" * 64)
        outcome = Outcome(v=1, version="2.0.0", phase=phase, sha256="b" * 64, reason=reason)
        found = rules.offered(Record(current=CURRENT, outcome=outcome), wanted, 6)
        assert (found is not None) is again


class TestSlots:
    def test_the_slot_of_what_serves_is_never_given_away(self) -> None:
        for slot, free in (("a", "b"), ("b", "a")):
            record = at(Phase.DOWNLOADING, Record(current=replace(CURRENT, slot=slot)))
            after = rules.succeeded(record, {})
            assert after.update is not None
            assert after.update.slot == free

    def test_what_lies_in_the_slot_that_is_taken_is_no_version_to_go_back_to(self) -> None:
        before = Installed(slot="b", version="0.9.0", sha256="0" * 64, counter=4)
        after = rules.succeeded(at(Phase.DOWNLOADING, Record(current=CURRENT, previous=before)), {})
        assert after.previous is None
        assert after.current == CURRENT

    def test_a_commit_is_one_write_of_all_that_changes(self) -> None:
        record = at(Phase.TRIAL, Record(current=CURRENT), sha256="b" * 64, counter=6, slot="b")
        after = rules.succeeded(record, {})
        assert after.current == Installed(slot="b", version="2.0.0", sha256="b" * 64, counter=6)
        assert after.previous == CURRENT

    def test_the_bundles_kept_are_those_in_use_and_the_one_on_its_way(self) -> None:
        record = at(Phase.DOWNLOADING, Record(current=CURRENT), sha256="b" * 64)
        assert rules.blobs_needed(Records(models={"kws": record})) == {"a" * 64, "b" * 64}
        ended = at(Phase.FAILED, Record(current=CURRENT), sha256="b" * 64)
        assert rules.blobs_needed(Records(models={"kws": ended})) == {"a" * 64}


class TestTrials:
    def judged(self, old: Tally | None, new: Tally, s: float = 60) -> Reason | str | None:
        found = verdict(old, new, s, CONFIG)
        return "goes on" if found is None else found.reason

    def test_one_that_works_as_well_as_the_old_may_stay_when_its_time_is_over(self) -> None:
        assert self.judged(Tally(100), Tally(90), 59.9) == "goes on"
        assert self.judged(Tally(100), Tally(90)) is None
        assert self.judged(None, Tally(90)) is None

    def test_one_that_fails_more_often_may_not(self) -> None:
        assert self.judged(Tally(100), Tally(90, errors=10)) is Reason.TRIAL_ERRORS
        assert self.judged(None, Tally(90, errors=10)) is Reason.TRIAL_ERRORS

    def test_data_that_both_fail_on_is_no_fault_of_the_new_one(self) -> None:
        assert self.judged(Tally(50, errors=50), Tally(50, errors=50)) is None
        assert self.judged(Tally(0, errors=50), Tally(0, errors=50)) is None

    def test_one_that_died_more_often_may_not(self) -> None:
        assert self.judged(Tally(100), Tally(100, crashes=1)) is Reason.TRIAL_CRASHES
        assert self.judged(Tally(100, crashes=1), Tally(100, crashes=1)) is None

    def test_one_without_work_waits_for_it_and_fails_only_if_the_old_one_had_some(self) -> None:
        assert self.judged(Tally(100), Tally(3), 299) == "goes on"
        assert self.judged(Tally(100), Tally(3), 300) is Reason.TRIAL_QUIET
        assert self.judged(Tally(3), Tally(0), 300) is None
        assert self.judged(None, Tally(0), 300) is None


class TestReported:
    def test_it_says_what_serves_and_what_comes_and_why_not(self) -> None:
        records = Records(v=7, models={"kws": at(Phase.DOWNLOADING, Record(current=CURRENT))})
        trouble = Refused(reason=Reason.REPOSITORY_UNREACHABLE, detail={"text": "no route"})
        (model,) = reported(records, {"kws": "1.0.0"}, Way(trouble=trouble, progress=0.25)).models
        assert (model.version, model.phase, model.serving) == ("2.0.0", "downloading", "1.0.0")
        assert (model.reason, model.progress, model.detail) == ("repository-unreachable", 0.25, {"text": "no route"})

    def test_a_model_of_which_nothing_was_ever_announced_is_there_too(self) -> None:
        message = reported(Records(), {"kws": "1.2.0"})
        assert message.version == 0
        assert message.to_json() == {
            "v": 0,
            "models": [{"name": "kws", "version": "1.2.0", "phase": "committed", "serving": "1.2.0"}],
        }

    def test_records_come_back_from_their_document(self) -> None:
        record = at(Phase.TRIAL, Record(current=CURRENT), sha256="b" * 64, counter=6, slot="b", detail={"x": [1]})
        records = Records(v=3, models={"kws": record, "vww": Record()})
        assert Records.from_json(records.to_json()) == records
