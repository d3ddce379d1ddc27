"""Telling: web hooks, MQTT and e-mail. One try each; who calls decides about another."""

import hashlib
import hmac
import json
import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any

from edgekit.errors import DeviceError
from edgekit.fleet.alerts import messages
from edgekit.fleet.alerts.settings import Email, Mqtt, Notifier, Webhook

TIMEOUT_S = 10.0
ANSWER_BYTES = 1024
SIGNATURE = "X-EdgeKit-Signature"
ID = "X-EdgeKit-Message"
Publish = Callable[[str, bytes], None]
"""Publish at the service's broker: topic and payload; raises when there is no connection."""


def tell(notifier: Notifier, number: int, body: Mapping[str, Any], now_s: int, publish: Publish | None) -> None:
    """Tell once.

    Args:
        notifier: whom.
        number: the message's number: who gets the same one twice knows that it is the same.
        body: what.
        now_s: the time, for the signature.
        publish: the service's connection to the broker, if it has one.

    Raises:
        DeviceError: if it did not arrive; tell again later.
    """
    try:
        if isinstance(notifier, Webhook):
            _webhook(notifier, number, body, now_s)
        elif isinstance(notifier, Mqtt):
            _mqtt(notifier, number, body, publish)
        else:
            _email(notifier, number, body)
    except DeviceError:
        raise
    except Exception as exc:  # whatever a library raises, the others are told
        raise DeviceError(f"{type(exc).__name__}: {exc}"[:500]) from exc


def signature(secret: str, now_s: int, payload: bytes) -> str:
    """Return `t=TIME,v1=HMAC-SHA256` of `TIME.` and the body: who checks the time too is safe from repetition."""
    mac = hmac.new(secret.encode(), f"{now_s}.".encode() + payload, hashlib.sha256)
    return f"t={now_s},v1={mac.hexdigest()}"


def _webhook(notifier: Webhook, number: int, body: Mapping[str, Any], now_s: int) -> None:
    import urllib3

    payload = json.dumps({"id": number, **body}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "edgekit", ID: str(number)}
    if notifier.secret is not None:
        headers[SIGNATURE] = signature(notifier.secret, now_s, payload)
    context = ssl.create_default_context(cafile=notifier.ca)
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S, ssl_context=context) as pool:
        # a redirect would lead to an address that nobody configured
        answer = pool.request(
            "POST", notifier.url, body=payload, headers=headers, redirect=False, preload_content=False
        )
        answer.read(ANSWER_BYTES)
        answer.close()
        if not 200 <= answer.status < 300:  # noqa: PLR2004  # success
            raise DeviceError(f"the web hook answered {answer.status}")


def _mqtt(notifier: Mqtt, number: int, body: Mapping[str, Any], publish: Publish | None) -> None:
    if publish is None:
        raise DeviceError("there is no connection to a broker")
    publish(f"{notifier.topic}/{body['rule']}", json.dumps({"id": number, **body}).encode())


def _email(notifier: Email, number: int, body: Mapping[str, Any]) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = messages.subject(body), notifier.sender, ", ".join(notifier.to)
    mail["Message-ID"] = f"<edgekit-alert-{number}@{notifier.sender.rpartition('@')[2].rstrip('>')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(messages.text(body))
    context = ssl.create_default_context(cafile=notifier.ca)
    with _connected(notifier, context) as server:
        if notifier.tls == "starttls":
            server.starttls(context=context)
        if notifier.username is not None and notifier.password is not None:
            server.login(notifier.username, notifier.password)
        server.send_message(mail)


def _connected(notifier: Email, context: ssl.SSLContext) -> smtplib.SMTP:
    if notifier.tls == "implicit":
        return smtplib.SMTP_SSL(notifier.host, notifier.port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(notifier.host, notifier.port, timeout=TIMEOUT_S)
