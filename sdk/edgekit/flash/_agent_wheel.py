"""The agent's wheel, made from the installed package: a device needs it, and the host has no build tools.

The same bytes each time: sorted names, one date, no compression. Format: PyPA "Binary distribution format".
"""

import base64
import contextlib
import hashlib
import io
import zipfile
from importlib import metadata, resources
from pathlib import Path

from edgekit.errors import EnvironmentMissingError
from edgekit_agent import __version__

NAME = f"edgekit_agent-{__version__}-py3-none-any.whl"
_INFO = f"edgekit_agent-{__version__}.dist-info"
_DATE = (2020, 2, 2, 0, 0, 0)
_METADATA = f"""\
Metadata-Version: 2.4
Name: edgekit-agent
Version: {__version__}
Summary: The EdgeKit device agent: runs models, measures every inference, reports over MQTT.
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.11
Requires-Dist: paho-mqtt<3,>=2.1
Provides-Extra: images
Requires-Dist: pillow>=11; extra == 'images'
Provides-Extra: onnx
Requires-Dist: onnxruntime<2,>=1.31; extra == 'onnx'
Provides-Extra: openvino
Requires-Dist: openvino<2027,>=2026.4; extra == 'openvino'
Provides-Extra: serve
Requires-Dist: h11<1,>=0.16; extra == 'serve'
Provides-Extra: tflite
Requires-Dist: ai-edge-litert==2.3.0; extra == 'tflite'
Provides-Extra: tflite-runtime
Requires-Dist: numpy<2; extra == 'tflite-runtime'
Requires-Dist: tflite-runtime==2.14.0; (python_version < '3.12') and extra == 'tflite-runtime'
Provides-Extra: update
Requires-Dist: tuf<8,>=7.0.1; extra == 'update'
Requires-Dist: urllib3<3,>=2.8; extra == 'update'
Provides-Extra: video
Requires-Dist: opencv-python-headless<6,>=4.10; extra == 'video'
Requires-Dist: pillow>=11; extra == 'video'
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nedgekit-agent = edgekit_agent.__main__:main\n"


def agent_wheel() -> bytes:
    """Return the wheel's bytes.

    Raises:
        EnvironmentMissingError: if the licence, which goes with it, is not where EdgeKit was installed.
    """
    root = Path(str(resources.files("edgekit_agent")))
    files = {
        f"edgekit_agent/{file.relative_to(root).as_posix()}": file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.suffix in {".py", ".typed"}
    }
    files |= {
        f"{_INFO}/METADATA": _METADATA.encode(),
        f"{_INFO}/WHEEL": _WHEEL.encode(),
        f"{_INFO}/entry_points.txt": _ENTRY_POINTS.encode(),
        f"{_INFO}/licenses/LICENSE": _licence(),
    }
    files[f"{_INFO}/RECORD"] = _record(files).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in files:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _licence() -> bytes:
    checkout = Path(__file__).parents[3] / "LICENSE"
    if checkout.is_file():
        return checkout.read_bytes()
    with contextlib.suppress(metadata.PackageNotFoundError, OSError):
        for file in metadata.files("edgekit-sdk") or []:
            if file.name == "LICENSE":
                return file.read_binary()
    raise EnvironmentMissingError("EdgeKit was installed without its LICENSE, which goes to a device with the agent")


def _record(files: dict[str, bytes]) -> str:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{_INFO}/RECORD,,"]) + "\n"
