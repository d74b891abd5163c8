"""The ways a message takes: mail, and a webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from steward.notify import Message

if TYPE_CHECKING:
    from steward.operations.settings import JobConfig, MailSettings, NotifySecrets

MAIL_TIMEOUT_S = 10.0


class DeliveryError(Exception):
    """A message did not arrive; the text holds no secret."""


class Channel(Protocol):
    """One way to people."""

    @property
    def name(self) -> str:
        """How it is called in notes and in the state."""
        ...

    def send(self, message: Message) -> None:
        """Deliver a message.

        Raises:
            DeliveryError: it did not arrive.
        """
        ...


class Mail:
    """Mail through a server that takes a login, over TLS."""

    name = "mail"

    def __init__(self, settings: MailSettings, secrets: NotifySecrets) -> None:
        self._settings = settings
        self._secrets = secrets

    def send(self, message: Message) -> None:
        """As :meth:`Channel.send`."""
        import smtplib
        import ssl
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        settings, secrets = self._settings, self._secrets
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = settings.sender
        mail["To"] = ", ".join(settings.recipients)
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        mail.set_content(f"{message.text}\n")
        try:
            tls = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
            client = (
                smtplib.SMTP_SSL(settings.host, settings.port, timeout=MAIL_TIMEOUT_S, context=tls)
                if settings.security == "tls"
                else smtplib.SMTP(settings.host, settings.port, timeout=MAIL_TIMEOUT_S)
            )
            with client:
                if settings.security == "starttls":
                    client.starttls(context=tls)
                if secrets.smtp_username and secrets.smtp_password:
                    client.login(secrets.smtp_username, secrets.smtp_password.get_secret_value())
                # Some accepted is delivered: those who were refused are no reason to tell the others again.
                client.send_message(mail)
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"{settings.host} answered with status {error.smtp_code}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"{type(error).__name__} at {settings.host}:{settings.port}") from None


class Webhook:
    """JSON with the text as ``text`` (Slack, Mattermost) and ``content`` (Discord), and its parts."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """As :meth:`Channel.send`."""
        import json

        from steward.notify.http import PostError, post

        words = f"{message.subject}: {message.text}"
        document = {
            "text": words,
            # Discord refuses more than 2,000 characters.
            "content": words[:2000],
            "app": message.app,
            "environment": message.environment,
            "host": message.host,
            "job": message.job,
            "state": message.state,
        }
        try:
            post(self._url, content=json.dumps(document).encode(), content_type="application/json")
        except PostError as error:
            raise DeliveryError(str(error)) from None


def channels(config: JobConfig) -> list[Channel]:
    """Every channel that is configured."""
    found: list[Channel] = []
    if config.notify.mail is not None:
        found.append(Mail(config.notify.mail, config.notify_secrets))
    if config.notify_secrets.webhook_url is not None:
        found.append(Webhook(config.notify_secrets.webhook_url.get_secret_value()))
    return found
