"""Composes the rooms' own settings; the only reader of the environment."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.blobs.base import BlobSettings, StorageSettings
from app.cpu import PoolSettings
from app.errors import FetchError
from app.keys import ClientKeys, client_keys, read_keys
from app.logs import LogSettings
from app.metrics.settings import MetricsSettings
from app.ops.base import Limits
from app.ops.settings import ItemSettings
from app.outbound.addresses import Network
from app.outbound.guard import Guard
from app.outbound.limits import FetchSettings
from app.outbound.remotes import RemoteSettings, RemoteTable, read_remotes, remotes_of
from app.outbound.webhooks import PushSettings, WebhookSettings
from app.records.settings import JobSettings
from app.wire.settings import CorsSettings, HttpSettings, UploadSettings, listed

ROOT_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+"
"""What may go before the paths of links; nothing that a browser would take for a host."""
Role = Literal["api", "work"]
OF_NAMES = ("api_keys", "remotes")
"""Settings whose members have names of the operator's."""
OF_CLIENTS = frozenset({"OFFLOAD_SERVER", "OFFLOAD_KEY", "OFFLOAD_KEY_FILE"})
"""Variables of the command line and of the Python client, which may run in the same shell."""
OWN_PATHS = ("v1", "docs", "page", "openapi.json", "livez", "readyz", "favicon.ico")


class _Environment(EnvSettingsSource):
    """The environment, where a list may be written `a,b` as well as in JSON."""

    def explode_env_vars(
        self, field_name: str, field: FieldInfo, env_vars: Mapping[str, str | None]
    ) -> dict[str, Any]:
        # Keys are not one variable a client: OFFLOAD_API_KEYS_FILE is no key of a client `file`.
        if field_name in OF_NAMES:
            return {}
        return super().explode_env_vars(field_name, field, env_vars)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if field_name in OF_NAMES:
            return value  # read by its own type, which knows more mistakes than JSON does
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value  # the field's own validator takes it, or says what is wrong with it


class Settings(BaseSettings):
    """Every setting, from `OFFLOAD_*` variables: OFFLOAD_FETCH_TIMEOUT_S is `fetch.timeout_s`."""

    model_config = SettingsConfigDict(
        env_prefix="OFFLOAD_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    roles: tuple[Role, ...] = Field(
        ("api", "work"),
        min_length=1,
        max_length=2,
        description="What this process does: `api` takes requests, `work` runs items and "
        "deliveries. One process each may share a data folder.",
    )
    data_dir: Path = Field(
        Path("data"),
        description="Folder of the database and of all stored bytes, unless these are elsewhere, "
        "and of what is in hand.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL database of the records, as postgresql://user:password@host/name. "
        "None: SQLite in OFFLOAD_DATA_DIR. With OFFLOAD_STORAGE_URL beside it, any number of "
        "nodes, each with a data folder of its own.",
    )
    api_keys: Annotated[ClientKeys, BeforeValidator(client_keys)] = Field(
        default_factory=dict,
        description="Clients and their keys, of 16 to 256 characters, as JSON: "
        '{"shop": "a-long-random-secret"}; a list of up to 4 while one is changed over. An '
        'operator sees the whole service: {"ops": {"keys": "...", "operator": true}}. Empty: no '
        "key is asked for, and everybody is one.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with the same JSON, instead of OFFLOAD_API_KEYS; read again on SIGHUP.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Allow an address other than loopback without any API key.",
    )
    remotes: Annotated[RemoteTable, BeforeValidator(remotes_of)] = Field(
        default_factory=dict,
        description="Buckets that clients may fetch from and have results put into, by name, as "
        'JSON: {"media": {"url": "s3://bucket/path", "options": {"region": "eu-1"}}}; '
        "docs/buckets.md has all of it.",
    )
    remotes_file: Path | None = Field(
        None, description="File with the same JSON, instead of OFFLOAD_REMOTES."
    )
    page: bool = Field(
        default=True,
        description="Whether `/` is a page for people; without it, `/` leads to `/docs`.",
    )
    root_path: str = Field(
        "",
        max_length=200,
        description="Path below which a proxy shows this service, e.g. /offload; goes before "
        "every link. The proxy may leave it in the requests or take it off.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Networks of the proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are "
        'believed, e.g. "127.0.0.1/32".',
    )
    drain_timeout_s: float = Field(
        4, ge=0, le=3600, description="Seconds that work under way gets to finish after SIGTERM."
    )
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    http: HttpSettings = HttpSettings()
    cors: CorsSettings = CorsSettings()
    upload: UploadSettings = UploadSettings()
    item: ItemSettings = ItemSettings()
    jobs: JobSettings = JobSettings()
    pool: PoolSettings = PoolSettings()
    blobs: BlobSettings = BlobSettings()
    storage: StorageSettings = StorageSettings()
    fetch: FetchSettings = FetchSettings()
    webhooks: WebhookSettings = WebhookSettings()
    push: PushSettings = PushSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments and the environment, nothing else."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="after")
    def _an_endpoint_in_reach(self) -> Self:
        if not self.webhooks.url:
            return self
        try:
            guard = Guard(self.fetch, _no_lookup).wider(self.webhooks.allow_networks)
            guard.check_url(self.webhooks.url)
        except FetchError as error:
            message = (
                f"OFFLOAD_WEBHOOKS_URL: {error.detail} Networks that are not public are opened "
                "to it by OFFLOAD_WEBHOOKS_ALLOW_NETWORKS."
            )
            raise ValueError(message) from error
        return self

    @model_validator(mode="after")
    def _keys_from_one_place(self) -> Self:
        if self.api_keys_file is None:
            return self
        if self.api_keys:
            message = "OFFLOAD_API_KEYS and OFFLOAD_API_KEYS_FILE are both set; one is to be."
            raise ValueError(message)
        try:
            read_keys(self.api_keys_file)
        except ValueError as error:
            raise ValueError(f"OFFLOAD_API_KEYS_FILE: {error}.") from None
        return self

    @model_validator(mode="after")
    def _remotes_from_one_place(self) -> Self:
        if self.remotes_file is not None and self.remotes:
            raise ValueError("OFFLOAD_REMOTES and OFFLOAD_REMOTES_FILE are both set; one is to be.")
        try:
            table = self.all_remotes
        except ValueError as error:
            raise ValueError(f"OFFLOAD_REMOTES_FILE: {error}.") from None
        for name, remote in table.items():
            self._check_endpoint(name, remote)
        return self

    def _check_endpoint(self, name: str, remote: RemoteSettings) -> None:
        try:
            guard = Guard(self.fetch, _no_lookup).wider(remote.allow_networks)
            if remote.endpoint is not None:
                guard.check_url(remote.endpoint)
        except FetchError as error:
            message = (
                f"OFFLOAD_REMOTES: the endpoint of `{name}`: {error.detail} Networks that are not "
                "public are opened to it by its `allow_networks`."
            )
            raise ValueError(message) from error

    @property
    def all_remotes(self) -> RemoteTable:
        """Give the remotes, wherever they are written. Raises `ValueError` for a broken file."""
        return read_remotes(self.remotes_file) if self.remotes_file else self.remotes

    _split = field_validator("roles", "trusted_proxies", mode="before")(listed)

    @property
    def item_limits(self) -> Limits:
        """Give what one item may use."""
        return self.item.limits(self.blobs.min_free_bytes)

    @property
    def shared(self) -> bool:
        """Whether other nodes may have the same records and bytes, on other machines too."""
        return self.database_url is not None and bool(self.storage.url)

    @field_validator("database_url")
    @classmethod
    def _a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        from psycopg import ProgrammingError, conninfo

        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("write a URL such as postgresql://user@host/name")
        try:
            said = conninfo.conninfo_to_dict(value.get_secret_value())
        except ProgrammingError:  # what it says may have the password in it
            raise ValueError("it is not a URL that PostgreSQL's client reads") from None
        host, port, name = (str(said.get(part) or "") for part in ("host", "port", "dbname"))
        # A password that is cut in pieces would be told as the name of a host or a database.
        if "@" in host + name or not re.fullmatch(r"[\d,]*", port):
            raise ValueError("write what is special of a password's characters as %40 for @")
        return value

    @field_validator("root_path")
    @classmethod
    def _a_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not re.fullmatch(ROOT_PATH, path):
            raise ValueError("write a path such as /offload, of letters, digits and -._~")
        if path.split("/")[1:2] and path.split("/")[1] in OWN_PATHS:
            raise ValueError("it begins with a path of the service itself; take another")
        return path

    @model_validator(mode="after")
    def _no_open_door_by_accident(self) -> Self:
        if self.api_keys or self.api_keys_file or self.allow_anonymous or is_loopback(self.host):
            return self
        message = (
            f"OFFLOAD_HOST is {self.host}, which others can reach, and there are no API keys. "
            "Set OFFLOAD_API_KEYS or OFFLOAD_API_KEYS_FILE, or OFFLOAD_ALLOW_ANONYMOUS=true if "
            "something in front of this service lets only the right clients through."
        )
        raise ValueError(message)


async def _no_lookup(host: str) -> tuple[str, ...]:
    return ()


def variables() -> dict[str, FieldInfo]:
    """Give every variable that is read, and the setting behind it."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        room = field.annotation
        if isinstance(room, type) and issubclass(room, BaseModel):
            for inner, inner_field in room.model_fields.items():
                found[f"OFFLOAD_{name}_{inner}".upper()] = inner_field
        else:
            found[f"OFFLOAD_{name}".upper()] = field
    return found


def unknown_variables() -> list[str]:
    """Give the OFFLOAD_* variables that are set and mean nothing: slips of the pen."""
    given = {name for name in os.environ if name.startswith("OFFLOAD_")}
    return sorted(given - variables().keys() - OF_CLIENTS)


def json_wanted() -> bool:
    """Tell how log lines shall look, also where the settings cannot be read."""
    return os.environ.get("OFFLOAD_LOG_FORMAT") == "json"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
