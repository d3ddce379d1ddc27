"""A configuration for Telegraf: the service's metrics, or devices' reports straight from the broker."""

SNIPPET = """\
# The fleet's metrics, from the service. The token is one of the role viewer: `edgekit fleet token create`.
[[inputs.prometheus]]
  urls = ["{server}/metrics"]
  metric_version = 2
  bearer_token = "{token_file}"

# Reports as devices send them, without the service: counts and gauges. Latency is a histogram there, which Telegraf
# cannot take apart; percentiles are in the metrics above.
[[inputs.mqtt_consumer]]
  servers = ["{broker}"]
  topics = ["ek/1/+/+/tele"]
  qos = 1
  data_format = "json_v2"
  # user and password from the environment, never from this file
  username = "${{MQTT_USERNAME}}"
  password = "${{MQTT_PASSWORD}}"

  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "_/_/+/+/tele"
    tags = "_/_/site/device/_"

  [[inputs.mqtt_consumer.json_v2]]
    measurement_name = "edgekit_report"
    timestamp_path = "ts"
    timestamp_format = "unix_ms"
{parts}"""

_TAGS = ("model", "ver", "rt")
# name on the wire, type, name, whether each report has it
_FIELDS = (
    ("n", "int", "inferences", True),
    ("drop", "int", "dropped", True),
    ("win_s", "float", "window_s", True),
    ("seq", "int", "seq", True),
    ("cpu", "float", "cpu_percent", False),
    ("rss", "int", "memory_bytes", False),
    ("temp", "float", "temperature_c", False),
    ("thr", "int", "throttled", False),
    ("freq", "float", "frequency_mhz", False),
    ("pow", "float", "power_w", False),
)


def snippet(server: str, broker: str, token_file: str) -> str:
    """Return the configuration (TOML).

    Args:
        server: the service, `http://host:port`.
        broker: the broker as Telegraf names it, `tcp://host:port`.
        token_file: where Telegraf finds the token.
    """
    parts = [f'    [[inputs.mqtt_consumer.json_v2.tag]]\n      path = "{name}"\n' for name in _TAGS]
    for path, kind, name, always in _FIELDS:
        part = f'    [[inputs.mqtt_consumer.json_v2.field]]\n      path = "{path}"\n      rename = "{name}"\n'
        parts.append(part + f'      type = "{kind}"\n' + ("" if always else "      optional = true\n"))
    return SNIPPET.format(server=server.rstrip("/"), broker=broker, token_file=token_file, parts="".join(parts))
