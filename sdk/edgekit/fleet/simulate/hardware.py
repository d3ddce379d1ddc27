"""Two classes of hardware that simulated devices are of, as `edgekit-agent probe` tells of such machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A class of machines: what they tell of themselves, and how fast and warm a small model makes them.

    Times are medians in seconds of one inference; `spread` is the sigma of their lognormal law. Above `throttle_c`
    each degree takes `throttle` more time.
    """

    name: str
    told: Mapping[str, object]
    runtimes: Mapping[str, str]
    runtime: str
    format: str
    pre_s: float
    infer_s: float
    post_s: float
    spread: float
    tail: float
    tail_times: float
    ambient_c: float
    load_c: float
    throttle_c: float
    throttle: float
    rss_bytes: int
    cpu_percent: float


_LINUX: Mapping[str, object] = {"kernel": "6.6.51", "libc": "glibc 2.36", "python": "3.11.2", "accelerators": []}

BOARD = Hardware(
    name="pi4",
    told=MappingProxyType(
        {
            **_LINUX,
            "arch": "aarch64",
            "board": "Raspberry Pi 4 Model B Rev 1.4",
            "cpu": "Cortex-A72",
            "cores": 4,
            "flags": ["asimd", "fp"],
            "memory_bytes": 3_884_000_000,
            "os": "Debian GNU/Linux 12 (bookworm)",
            "thermal_zones": ["cpu-thermal"],
        }
    ),
    runtimes=MappingProxyType({"tflite-runtime": "2.14.0"}),
    runtime="tflite-runtime 2.14.0",
    format="tflite",
    pre_s=0.0021,
    infer_s=0.0124,
    post_s=0.0004,
    spread=0.11,
    tail=0.01,
    tail_times=3.5,
    ambient_c=41.0,
    load_c=17.0,
    throttle_c=62.0,
    throttle=0.02,
    rss_bytes=92_000_000,
    cpu_percent=31.0,
)
GATEWAY = Hardware(
    name="x86",
    told=MappingProxyType(
        {
            **_LINUX,
            "arch": "x86_64",
            "board": "NUC11ATKC4",
            "cpu": "Intel(R) Celeron(R) N5105 @ 2.00GHz",
            "cores": 4,
            "flags": ["sse4_2"],
            "memory_bytes": 8_200_000_000,
            "os": "Debian GNU/Linux 12 (bookworm)",
            "thermal_zones": ["x86_pkg_temp"],
        }
    ),
    runtimes=MappingProxyType({"openvino": "2026.4.0"}),
    runtime="openvino 2026.4.0",
    format="xml",
    pre_s=0.0006,
    infer_s=0.0031,
    post_s=0.0001,
    spread=0.06,
    tail=0.004,
    tail_times=5.0,
    ambient_c=36.0,
    load_c=14.0,
    throttle_c=75.0,
    throttle=0.01,
    rss_bytes=148_000_000,
    cpu_percent=9.0,
)
CLASSES = (BOARD, GATEWAY)
