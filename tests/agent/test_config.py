"""`agent.toml`: what is right is read, what is wrong is one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit_agent.config import AgentConfig, load
from edgekit_agent.errors import ConfigError
from edgekit_agent.orders import broker_of, config_of, orders_of

Load = Callable[[str], AgentConfig]
MODEL = '[[model]]\nname = "kws"\npath = "kws.tflite"\n'


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def read(text: str) -> AgentConfig:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return load(path)

    return read


def test_a_device_name_is_enough(read: Load) -> None:
    config = read('device = "edge-1"')
    assert (config.device, config.site, config.model) == ("edge-1", "default", ())
    assert config.broker.address == ("127.0.0.1", 1883, False)
    assert Path(config.state_dir).is_absolute()


def test_every_key_is_read(read: Load, tmp_path: Path) -> None:
    config = read(
        """
        device = "edge-1"
        site = "hall"
        state_dir = "state"
        labels = {line = "3"}
        [broker]
        url = "mqtts://[::1]:8884"
        username = "u"
        password_file = "secret"
        ca = "ca.pem"
        cert = "/etc/c.pem"
        key = "k.pem"
        protocol = "5"
        keepalive_s = 20
        [telemetry]
        window_s = 5
        heartbeat_s = 2.5
        queue = 7
        settle_s = 0
        [[model]]
        name = "kws"
        path = "kws.tflite"
        version = "1.2.0"
        runtime = "ai-edge-litert"
        device = "CPU"
        threads = 2
        rate_hz = 10
        labels = "labels.txt"
        source = {kind = "folder", path = "data", loop = false, limit = 5, seed = 1}
        preprocess = {resize = 256, crop = 224}
        limits = {memory_mb = 500, hang_s = 5}
        """
    )
    assert config.broker.address == ("::1", 8884, True)
    assert config.broker.password_file == str(tmp_path / "secret")
    assert config.broker.cert == "/etc/c.pem"
    assert (config.telemetry.window_s, config.telemetry.queue) == (5.0, 7)
    (model,) = config.model
    assert model.path == str(tmp_path / "kws.tflite")
    assert model.source.path == str(tmp_path / "data")
    assert (model.rate_hz, model.source.loop, model.limits.memory_mb) == (10.0, False, 500)
    assert config.state_dir == str(tmp_path / "state")


def test_a_worker_gets_the_very_configuration(read: Load) -> None:
    (model,) = read('device = "edge-1"\n' + MODEL + "preprocess = {mean = [1, 2, 3]}\n").model
    assert config_of(orders_of(model)) == model


def test_a_worker_gets_the_broker_if_its_source_needs_it(read: Load) -> None:
    config = read('device = "edge-1"\n' + MODEL + 'source = {kind = "mqtt", topic = "a/+"}\nsink = [{kind = "mqtt"}]\n')
    orders = orders_of(config.model[0], config.broker)
    assert (config_of(orders), broker_of(orders)) == (config.model[0], config.broker)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'device' is missing"),
        ('device = "Edge 1"', "device name 'Edge 1' is not 3 to 64"),
        ('device = "edge-1"\nsite = "a"', "site name 'a'"),
        ("device = 3", "'device' is not text"),
        ('device = "edge\\u0000"', "zero byte"),
        ("device =", "is not TOML"),
        ('device = "edge-1"\nstate_dir = "~nobody-of-that-name/x"', "names a home that does not exist"),
        ('device = "edge-1"\nlabels = {a = 1}', "'labels.a' is not text"),
        ('device = "edge-1"\nmodel = 3', "write \\[\\[model\\]\\]"),
        ('device = "edge-1"\n[broker]\nurl = "http://h"', "broker.url 'http://h' is not of the form"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://h:99999"', "is not of the form"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://h:0"', "is not of the form"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://h/path"', "is not of the form"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://h?x=1"', "is not of the form"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://u:p@h"', "holds a password"),
        ('device = "edge-1"\n[broker]\nurl = "mqtt://u@h"', "holds a user's name"),
        (f'device = "edge-1"\n{MODEL}threads = "all"', "model.threads is 'all' and neither a number nor 'auto'"),
        (f'device = "edge-1"\n{MODEL}threads = 1.5', "'model.threads' is not a whole number"),
        (f'device = "edge-1"\n{MODEL}delegate_options = {{a = "b"}}', "delegate_options go with model.delegate"),
        (f'device = "edge-1"\n{MODEL}properties = {{a = [1]}}', "'model.properties.a' is not text"),
        (f'device = "edge-1"\n{MODEL}limits = {{user = 3}}', "'model.limits.user' is not text"),
        ('device = "edge-1"\n[broker]\nprotocol = "4"', "broker.protocol is '4' and not one of: auto, 5, 3.1.1"),
        ('device = "edge-1"\n[broker]\nkeepalive_s = 70000', "broker.keepalive_s is 70000 and not between 1 and 65535"),
        ('device = "edge-1"\n[telemetry]\nwindow_s = 0', "telemetry.window_s"),
        ('device = "edge-1"\n[telemetry]\nwindow_s = inf', "'telemetry.window_s' is not a number"),
        ('device = "edge-1"\n[telemetry]\nheartbeat_s = nan', "'telemetry.heartbeat_s' is not a number"),
        ('device = "edge-1"\n[telemetry]\nsettle_s = true', "'telemetry.settle_s' is not a number"),
        ('device = "edge-1"\n[telemetry]\nspool_mb = 0.001', "telemetry.spool_mb is 0.001 and not between 0.02"),
        ('device = "edge-1"\n[telemetry]\nspool_days = 0', "telemetry.spool_days is 0.0 and not between 0.001"),
        ('device = "edge-1"\n[telemetry]\nqueue = 1.5', "'telemetry.queue' is not a whole number"),
        ('device = "edge-1"\n' + MODEL + MODEL, "two models are named 'kws'"),
        ('device = "edge-1"\n[[model]]\nname = "a/b"\npath = "x"', "model.name 'a/b'"),
        ('device = "edge-1"\n[[model]]\nname = "kws"', "model 'kws' has neither path nor bundle"),
        ('device = "edge-1"\n' + MODEL + "threads = 0", "model.threads is 0"),
        ('device = "edge-1"\n' + MODEL + f"threads = 1{'0' * 400}", "model.threads is 1"),
        ('device = "edge-1"\n' + MODEL + "rate_hz = -1", "model.rate_hz is -1.0"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "lidar"}', "model.source.kind is 'lidar'"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "folder"}', "model.source of kind 'folder' needs path"),
        ('device = "edge-1"\n' + MODEL + 'source = {path = "x"}', "model.source.path does not go with kind 'synth"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "video", path = "x", url = "http://a"}', "and one alone"),
        (
            'device = "edge-1"\n' + MODEL + 'source = {kind = "video", url = "ftp://u:p@a/"}',
            r"'ftp://\*\*\*@a/' is not of",
        ),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "mqtt", topic = "a/#/b"}', "is no filter of topics"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "mqtt", topic = "a", payload = "x"}', "payload is 'x'"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "camera", fourcc = "MJPEG"}', "is not four letters"),
        ('device = "edge-1"\n' + MODEL + 'source = {kind = "wav", path = "x", hop_s = -1}', "hop_s is -1"),
        ('device = "edge-1"\n' + MODEL + 'sink = [{kind = "kafka"}]', "model.sink.kind is 'kafka'"),
        ('device = "edge-1"\n' + MODEL + 'sink = [{kind = "file"}]', "of kind 'file' needs path"),
        ('device = "edge-1"\n' + MODEL + 'sink = [{kind = "mqtt", path = "x"}]', "path does not go with kind 'mqtt'"),
        ('device = "edge-1"\n' + MODEL + 'sink = [{kind = "callback"}]', "needs function"),
        (
            'device = "edge-1"\n' + MODEL + 'sink = [{kind = "callback", function = "os.system"}]',
            "of the form module:fu",
        ),
        ('device = "edge-1"\n' + MODEL + 'postprocess = {kind = "boxes"}', "needs 'boxes'"),
        ('device = "edge-1"\n' + MODEL + "preprocess = {std = 0}", "preprocess 'std' is 0"),
        ('device = "edge-1"\n' + MODEL + "preprocess = {mean = nan}", "preprocess 'mean'"),
        ('device = "edge-1"\n' + MODEL + "limits = {memory_mb = -1}", "model.limits.memory_mb"),
    ],
)
def test_what_is_wrong_is_one_sentence(read: Load, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_address_is_not_repeated(read: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        read('device = "edge-1"\n[broker]\nurl = "mqtt://u:hidden@h/path"')
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('device = "edge-1"\nsit = "x"', "did you mean 'site'?"),
        ('device = "edge-1"\n[telemetry]\nwindow = 3', "did you mean 'window_s'?"),
        ('device = "edge-1"\nqqq = 1', "known here: device, site"),
    ],
)
def test_an_unknown_key_brings_the_nearest_one(read: Load, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="unknown key") as caught:
        read(text)
    (note,) = caught.value.__notes__
    assert note.startswith(hint)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml' cannot be read"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_huge_or_binary_file_is_refused(tmp_path: Path) -> None:
    huge, binary = tmp_path / "huge.toml", tmp_path / "binary.toml"
    huge.write_bytes(b"#" * (1 << 21))
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="larger than"):
        load(huge)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(binary)


def test_where_a_model_runs_is_read_with_its_types(read: Load, tmp_path: Path) -> None:
    text = f"""device = "edge-1"\n{MODEL}
        device = "AUTO:NPU,CPU"
        threads = "auto"
        delegate = "libedgetpu.so.1"
        delegate_options = {{device = "usb"}}
        properties = {{PERFORMANCE_HINT = "LATENCY", NUM_STREAMS = 2, ENABLE = true, SHARE = 0.5}}
        """
    (model,) = read(text).model
    assert (model.device, model.threads, model.delegate) == ("AUTO:NPU,CPU", "auto", "libedgetpu.so.1")
    assert model.properties == {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 2, "ENABLE": True, "SHARE": 0.5}
    assert model.delegate_options == {"device": "usb"}
    assert Path(model.cache_dir or "").name == "cache"
    (model,) = read(text.replace('"libedgetpu.so.1"', '"lib/x.so"')).model
    assert model.delegate == str(tmp_path / "lib" / "x.so")
    assert config_of(orders_of(model)) == model
