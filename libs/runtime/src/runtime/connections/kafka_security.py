"""The security settings of Kafka's clients."""

import ipaddress
from collections.abc import Iterable
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.connections.tls import FileNames, TlsFiles, file_problems

_FILE_NAMES = FileNames(
    "KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SSL_KEY_FILE", "KAFKA_SSL_KEY_PASSWORD"
)


class KafkaSecuritySettings(BaseSettings):
    """The encryption of the connections to Kafka, and the authentication of the clients. By default, both are off."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True
    )

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="SSL encrypts the connections to Kafka, SASL_ sends a login. With SSL or SASL_SSL, the brokers' "
        "certificates and host names are always checked.",
    )
    kafka_ssl_ca_file: str = Field(
        default="",
        description="File with the certificates (PEM) of the authorities that sign the brokers' certificates. If "
        "empty, those of the operating system are trusted.",
    )
    kafka_ssl_certificate_file: str = Field(
        default="",
        description="File with the client's certificate (PEM), if the brokers ask for one (mutual TLS). A renewed file "
        "is used for the next connection.",
    )
    kafka_ssl_key_file: str = Field(
        default="",
        description="File with the key (PEM) of KAFKA_SSL_CERTIFICATE_FILE, unless the file of the certificate has it.",
    )
    kafka_ssl_key_password: SecretStr = Field(
        default=SecretStr(""), description="Password of the client's key, if it is encrypted."
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="", description="Kind of login for SASL_SSL. PLAIN and OAUTHBEARER are refused without TLS."
    )
    kafka_sasl_username: str = Field(default="", description="User of the login with PLAIN and SCRAM.")
    kafka_sasl_password: SecretStr = Field(
        default=SecretStr(""), description="Password of the login with PLAIN and SCRAM."
    )
    kafka_sasl_token_file: str = Field(
        default="",
        description="File with the token for OAUTHBEARER, such as a token that Kubernetes projects. It is read for "
        "each connection.",
    )
    kafka_sasl_token_url: str = Field(
        default="",
        description="Address (https) of the token endpoint for OAUTHBEARER, if there is no KAFKA_SASL_TOKEN_FILE. "
        "Tokens are requested with the client credentials grant of OAuth 2.",
    )
    kafka_sasl_client_id: str = Field(default="", description="Client id for KAFKA_SASL_TOKEN_URL.")
    kafka_sasl_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Client secret for KAFKA_SASL_TOKEN_URL."
    )
    kafka_sasl_token_scope: str = Field(default="", description="Scope to request at KAFKA_SASL_TOKEN_URL, if any.")

    @property
    def kafka_tls_files(self) -> TlsFiles:
        return TlsFiles(
            ca=self.kafka_ssl_ca_file,
            certificate=self.kafka_ssl_certificate_file,
            key=self.kafka_ssl_key_file,
            key_password=self.kafka_ssl_key_password.get_secret_value(),
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := [*self._tls_problems(), *self._login_problems()]:
            raise ValueError("\n".join(problems))
        return self

    def _tls_problems(self) -> Iterable[str]:
        files = self.kafka_tls_files
        if self.kafka_security_protocol.endswith("SSL"):
            yield from file_problems(files, _FILE_NAMES)
            return
        for name in ("kafka_ssl_ca_file", "kafka_ssl_certificate_file", "kafka_ssl_key_file"):
            if getattr(self, name):
                yield (
                    f"{name.upper()} is set, but KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}, without "
                    "TLS: set it to SSL or SASL_SSL"
                )

    def _login_problems(self) -> Iterable[str]:
        mechanism, protocol = self.kafka_sasl_mechanism, self.kafka_security_protocol
        if not protocol.startswith("SASL"):
            for name in ("kafka_sasl_mechanism", *_PASSWORD, *_TOKEN):
                if _is_set(getattr(self, name)):
                    yield (
                        f"{name.upper()} is set, but KAFKA_SECURITY_PROTOCOL is {protocol}, without a login: set it "
                        "to SASL_SSL"
                    )
        elif not mechanism:
            yield (
                f"KAFKA_SASL_MECHANISM is not set, but KAFKA_SECURITY_PROTOCOL is {protocol}: set it to SCRAM-SHA-512, "
                "SCRAM-SHA-256, PLAIN or OAUTHBEARER"
            )
        else:
            yield from self._token_problems() if mechanism == "OAUTHBEARER" else self._password_problems()
            if protocol == "SASL_PLAINTEXT" and not mechanism.startswith("SCRAM") and not self._only_loopback():
                yield (
                    f"KAFKA_SASL_MECHANISM {mechanism} would send its secret unencrypted: set KAFKA_SECURITY_PROTOCOL "
                    "to SASL_SSL. SASL_PLAINTEXT is allowed for brokers on a loopback address"
                )

    def _password_problems(self) -> Iterable[str]:
        for name in _PASSWORD:
            if not _is_set(getattr(self, name)):
                yield f"{name.upper()} is not set: KAFKA_SASL_MECHANISM {self.kafka_sasl_mechanism} needs it"
        for name in _TOKEN:
            if _is_set(getattr(self, name)):
                yield f"{name.upper()} is set, but KAFKA_SASL_MECHANISM is {self.kafka_sasl_mechanism}: unset one"

    def _token_problems(self) -> Iterable[str]:
        for name in _PASSWORD:
            if _is_set(getattr(self, name)):
                yield f"{name.upper()} is set, but KAFKA_SASL_MECHANISM is OAUTHBEARER: unset one"
        if bool(self.kafka_sasl_token_file) == bool(self.kafka_sasl_token_url):
            yield "KAFKA_SASL_MECHANISM OAUTHBEARER needs either KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_URL: set one"
        elif self.kafka_sasl_token_url:
            address = urlsplit(self.kafka_sasl_token_url)
            if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(address.hostname or "")):
                yield "KAFKA_SASL_TOKEN_URL is not valid: it must begin with https://"
            for name in ("kafka_sasl_client_id", "kafka_sasl_client_secret"):
                if not _is_set(getattr(self, name)):
                    yield f"{name.upper()} is not set: KAFKA_SASL_TOKEN_URL needs it"

    def _only_loopback(self) -> bool:
        servers = str(getattr(self, "kafka_bootstrap_servers", ""))
        return all(_is_loopback(server.rpartition(":")[0].strip("[]")) for server in servers.split(","))


_PASSWORD = ("kafka_sasl_username", "kafka_sasl_password")
_TOKEN = (
    "kafka_sasl_token_file",
    "kafka_sasl_token_url",
    "kafka_sasl_client_id",
    "kafka_sasl_client_secret",
    "kafka_sasl_token_scope",
)


def _is_set(value: str | SecretStr) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
