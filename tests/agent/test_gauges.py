"""Gauges from trees of files as the kernel has them; what is missing is not told, and broken files are missing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit_agent.gauges import Gauges, GaugeWindow, Throttled

Write = Callable[[str, object], Path]
ZONE = "sys/class/thermal/thermal_zone{}/temp"
POLICY = "sys/devices/system/cpu/cpufreq/policy0/"
RAPL = "sys/class/powercap/intel-rapl:{}/"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
COUNTER = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the root."""

    def write(path: str, value: object) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        return file

    return write


def test_a_device_without_sensors_tells_nothing(tmp_path: Path) -> None:
    assert Gauges(tmp_path).device(0) == {}


def test_the_hottest_zone_is_told_and_those_without_a_sensor_are_not(tmp_path: Path, write: Write) -> None:
    for number, value in enumerate((41_312, 55_850, -274_000, 2_147_483_647, "")):
        write(ZONE.format(number), value)
    assert Gauges(tmp_path).device(0) == {"temperature_c": 55.9}


def test_a_reading_is_kept_for_a_second(tmp_path: Path, write: Write) -> None:
    zone = write(ZONE.format(0), 40_000)
    gauges = Gauges(tmp_path)
    assert gauges.device(10.0) == {"temperature_c": 40.0}
    zone.write_text("50000")
    assert gauges.device(10.9) == {"temperature_c": 40.0}
    assert gauges.device(11.0) == {"temperature_c": 50.0}


def test_a_sensor_that_goes_away_is_not_told_any_more(tmp_path: Path, write: Write) -> None:
    zone = write(ZONE.format(0), 40_000)
    gauges = Gauges(tmp_path)
    zone.unlink()
    assert gauges.device(0) == {}
    zone.write_bytes(b"\xff\xfe garbage")
    assert gauges.device(1) == {}


def test_the_fastest_processor_s_clock_is_told(tmp_path: Path, write: Write) -> None:
    write(POLICY + "scaling_cur_freq", 1_500_000)
    write("sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq", 2_208_000)
    assert Gauges(tmp_path).device(0) == {"frequency_mhz": 2208.0}


class TestThrottling:
    @pytest.mark.parametrize(
        ("text", "bits"),
        [("0", 0), ("50000", 0), ("50005", 5), ("e0008", 8), ("1", 1)],
        ids=["never", "was", "is", "hot", "under-voltage"],
    )
    def test_the_firmware_s_present_bits_are_told_and_not_what_has_been(
        self, tmp_path: Path, write: Write, text: str, bits: int
    ) -> None:
        write(FIRMWARE, text)
        assert Gauges(tmp_path).device(0) == {"throttled": bits}

    def test_a_lowered_limit_of_the_clock_is_told(self, tmp_path: Path, write: Write) -> None:
        limit = write(POLICY + "scaling_max_freq", 1_800_000)
        write(POLICY + "cpuinfo_max_freq", 1_800_000)
        gauges = Gauges(tmp_path)
        assert gauges.device(0) == {"throttled": 0}
        limit.write_text("1200000")
        assert gauges.device(1) == {"throttled": Throttled.CAPPED}

    def test_a_processor_that_is_cooled_is_told_and_a_fan_is_not(self, tmp_path: Path, write: Write) -> None:
        write("sys/class/thermal/cooling_device0/type", "pwm-fan")
        write("sys/class/thermal/cooling_device0/cur_state", 3)
        assert Gauges(tmp_path).device(0) == {}
        write("sys/class/thermal/cooling_device1/type", "thermal-cpufreq-0")
        write("sys/class/thermal/cooling_device1/cur_state", 2)
        assert Gauges(tmp_path).device(0) == {"throttled": Throttled.HOT}

    def test_counters_tell_what_happened_since_the_last_reading(self, tmp_path: Path, write: Write) -> None:
        write(COUNTER.format(0), 7)
        counter = write(COUNTER.format(1), 100)
        gauges = Gauges(tmp_path)
        assert gauges.device(0) == {"throttled": 0}
        counter.write_text("102")
        assert gauges.device(1) == {"throttled": Throttled.THROTTLED | Throttled.HOT}
        assert gauges.device(2) == {"throttled": 0}

    def test_everything_that_throttles_is_in_one_number(self, tmp_path: Path, write: Write) -> None:
        write(FIRMWARE, "1")
        write(POLICY + "scaling_max_freq", 600_000)
        write(POLICY + "cpuinfo_max_freq", 1_800_000)
        assert Gauges(tmp_path).device(0) == {"throttled": Throttled.UNDER_VOLTAGE | Throttled.CAPPED}


class TestPower:
    def test_energy_counters_of_all_packages_become_watts_and_may_begin_again(
        self, tmp_path: Path, write: Write
    ) -> None:
        files = [write(RAPL.format(number) + "energy_uj", 1_000_000) for number in (0, 1)]
        for number in (0, 1):
            write(RAPL.format(number) + "max_energy_range_uj", 10_000_000)
        write(RAPL.format("0:0") + "energy_uj", 5)  # a part of package 0
        gauges = Gauges(tmp_path)
        assert gauges.device(0) == {}
        files[0].write_text("5000000")
        files[1].write_text("3000000")
        assert gauges.device(2) == {"power_w": 3.0}
        files[0].write_text("1000000")  # 4 MJ before the end and 1 behind it: 6 J
        assert gauges.device(4) == {"power_w": 3.0}

    def test_a_counter_only_root_may_read_is_no_counter(self, tmp_path: Path, write: Write) -> None:
        file = write(RAPL.format(0) + "energy_uj", 1)
        file.unlink()
        file.mkdir()  # cannot be read, by root neither
        gauges = Gauges(tmp_path)
        assert (gauges.device(0), gauges.device(1)) == ({}, {})

    def test_a_sensor_of_the_board_comes_first(self, tmp_path: Path, write: Write) -> None:
        write(RAPL.format(0) + "energy_uj", 1)
        write("sys/class/hwmon/hwmon2/power1_input", 4_250_000)
        assert Gauges(tmp_path).device(0) == {"power_w": 4.25}

    def test_of_a_monitor_with_several_rails_the_one_that_feeds_all_is_told(self, tmp_path: Path, write: Write) -> None:
        monitor = "sys/class/hwmon/hwmon1/"
        for channel, (label, volts, amperes) in enumerate((("VDD_CPU", 900, 700), ("VDD_IN", 5000, 1200)), 1):
            write(f"{monitor}in{channel}_label", label)
            write(f"{monitor}in{channel}_input", volts)
            write(f"{monitor}curr{channel}_input", amperes)
        assert Gauges(tmp_path).device(0) == {"power_w": 6.0}


class TestProcess:
    def test_memory_and_share_of_a_core(self, tmp_path: Path, write: Write) -> None:
        tick = 1 / os.sysconf("SC_CLK_TCK")
        write("proc/7/statm", "5000 1000 200 1 0 3000 0")
        fields = "S 1 7 7 0 -1 4194560 100 0 0 0 {} {} 0 0 20 0 1 0"
        stat = write("proc/7/stat", f"7 (a worker) b) {fields.format(100, 50)}")
        gauges = Gauges(tmp_path)
        assert gauges.process(7, 10.0) == {"rss_bytes": 1000 * os.sysconf("SC_PAGE_SIZE")}
        stat.write_text(f"7 (a worker) b) {fields.format(180, 70)}")
        assert gauges.process(7, 12.0)["cpu_percent"] == pytest.approx(100 * 100 * tick / 2)

    def test_a_process_that_is_gone_tells_nothing_and_its_number_begins_anew(
        self, tmp_path: Path, write: Write
    ) -> None:
        gauges = Gauges(tmp_path)
        assert gauges.process(7, 0.0) == {}
        write("proc/7/statm", "5000 1000 200 1 0 3000 0")
        write("proc/7/stat", "7 (x) S 1 7 7 0 -1 4194560 100 0 0 0 9 9 0 0 20 0 1 0")
        gauges.process(7, 1.0)
        gauges.forget(7)
        assert "cpu_percent" not in gauges.process(7, 2.0)
        write("proc/7/stat", "7 (x) S")
        assert gauges.process(7, 3.0) == {}

    def test_this_process(self) -> None:
        found = Gauges().process(os.getpid(), 0.0)
        assert found["rss_bytes"] > 1 << 20


def test_a_window_tells_means_peaks_and_whatever_throttled_within_it() -> None:
    window = GaugeWindow()
    assert window.told() == {}
    window.add(0, {"cpu_percent": 10.0, "rss_bytes": 5, "temperature_c": 60.0, "throttled": 1, "queue": 4, "colour": 1})
    window.add(0, {"cpu_percent": 20.0, "rss_bytes": 3, "temperature_c": 50.0, "throttled": 8, "power_w": 2.5})
    assert window.told() == {
        "cpu_percent": 15.0,
        "rss_bytes": 5,
        "temperature_c": 60.0,
        "throttled": 9,
        "queue": 4,
        "power_w": 2.5,
    }


def test_what_several_workers_use_is_added_and_what_the_device_has_is_not() -> None:
    window = GaugeWindow()
    for number, share in ((0, 10.0), (1, 30.0), (0, 20.0)):
        window.add(number, {"cpu_percent": share, "rss_bytes": 7, "queue": 2, "temperature_c": share, "power_w": 4.0})
    assert window.told() == {"cpu_percent": 45.0, "rss_bytes": 14, "queue": 4, "temperature_c": 30.0, "power_w": 4.0}
