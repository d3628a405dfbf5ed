"""The settings of a server, each declared once: command line, environment and file read these.

The command line comes before the environment (`SFUMATO_PORT`), and both before the file.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from sfumato.presets.families import Prediction

GIB = 2**30


class Served(BaseModel):
    """A model that is served: where it is, and how it is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """A preset, a file, a folder, or a repository of the Hub that is on this machine."""
    dtype: str | None = None
    prediction: Prediction | None = None
    decoder: str | None = None


def setting(default: Any, help: str, group: str, **limits: Any) -> Any:  # noqa: A002
    """The declaration of a setting: its default, its help, the section of the help, its range."""
    return Field(default, description=help, json_schema_extra={"group": group}, **limits)


Words = Annotated[list[str], NoDecode]
"""Words in a list, or in one text with commas."""

WHERE, MODELS, WORK = "where it listens, and to whom", "models", "work"
LIMITS, KEPT = "the largest request", "what is kept and told"


class Settings(BaseSettings):
    """All settings of a server."""

    model_config = SettingsConfigDict(env_prefix="SFUMATO_", extra="forbid", frozen=True)
    file: ClassVar[Path | None] = None

    host: str = setting("127.0.0.1", "the address to listen at", WHERE)
    port: int = setting(7860, "the port; 0: any that is free", WHERE, ge=0, le=65535)
    token: SecretStr | None = setting(
        None, "the secret that clients must show (better in SFUMATO_TOKEN)", WHERE
    )
    insecure: bool = setting(False, "serve an address of the network without a token", WHERE)
    allowed_hosts: Words = setting([], "names of this server besides localhost and IPs", WHERE)
    cors: Words = setting([], "origins of web pages elsewhere that may call the APIs", WHERE)
    root_path: str = setting("", "the path under which a proxy serves this", WHERE)

    models: Annotated[dict[str, Served], NoDecode] = setting(
        {"mini": Served(source="mini"), "mini-turbo": Served(source="mini-turbo")},
        "NAME=SOURCE or SOURCE, a preset, file or folder; the first is the default",
        MODELS,
    )
    dtype: str | None = setting(None, "how models compute, such as mixed_bfloat16", MODELS)
    keep_alive: float = setting(300, "seconds until an idle model is unloaded; -1: never", MODELS)
    memory: float | None = setting(None, "GiB that models may take together [what is free]", MODELS)
    loras: Path | None = setting(None, "folder of the LoRAs that requests may name", MODELS)
    controls: Path | None = setting(None, "folder of ControlNets, IP-Adapters of requests", MODELS)
    embeddings: Path | None = setting(None, "folder of the words that prompts may use", MODELS)
    pictures: Path | None = setting(
        None, "folder of pictures that MCP's clients may begin from", MODELS
    )
    openai_names: bool = setting(False, "list the default model as dall-e-3, too", MODELS)

    queue: int = setting(64, "requests that may wait", WORK, ge=1)
    batch: int | None = setting(
        None, "pictures that may be painted together [4; OpenVINO: 1]", WORK, ge=1, le=64
    )
    batch_wait: float = setting(0.01, "seconds to wait for requests of one batch", WORK, ge=0, le=5)
    ray: str | None = setting(
        None, "a Ray cluster whose workers paint: auto, HOST:PORT, or local for this machine", WORK
    )
    workers: int | None = setting(
        None, "most workers of the cluster [one for each GPU]", WORK, ge=1
    )
    deadline: float = setting(600, "seconds that a request may take", WORK, gt=0)
    drain: float = setting(30, "seconds to finish the work when asked to stop", WORK, ge=0)

    safety: Literal["off", "flag", "blur"] = setting(
        "off", "flag or blur what looks sexual, whether requests ask for that or not", WORK
    )

    max_side: int = setting(2048, "pixels of a side", LIMITS, ge=8)
    max_pixels: int = setting(2**22, "pixels of a picture", LIMITS, ge=64)
    max_steps: int = setting(150, "steps", LIMITS, ge=1)
    max_count: int = setting(16, "pictures of a request", LIMITS, ge=1)
    max_controls: int = setting(4, "ControlNets or IP-Adapters of a request", LIMITS, ge=0)
    max_words: int = setting(20_000, "characters of a prompt", LIMITS, ge=1)
    max_joined: int = setting(16, "prompts joined by AND", LIMITS, ge=1)
    max_body: int = setting(64, "MiB of a request", LIMITS, ge=1)

    folder: Path = setting(
        Path(platformdirs.user_data_dir("sfumato", appauthor=False)) / "server",
        "where pictures and history are",
        KEPT,
    )
    history: int = setting(1000, "requests to remember, with their pictures", KEPT, ge=16)
    metadata: bool = setting(True, "pictures carry their recipe", KEPT)
    metrics: bool = setting(True, "figures for Prometheus at /metrics", KEPT)
    log_prompts: bool = setting(False, "write prompts to the log", KEPT)
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "how much is logged", KEPT
    )

    @field_validator("allowed_hosts", "cors", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        words = value.split(",") if isinstance(value, str) else value
        return [word.strip().rstrip("/") for word in words if word.strip()]

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict):
            given = [(name, spec) for name, spec in value.items()]
        else:
            words = value.split(",") if isinstance(value, str) else value
            given = [_name_of(word.strip()) for word in words if word.strip()]
        if not given:
            raise ValueError("must name a model")
        return {name: {"source": s} if isinstance(s, str) else s for name, s in given}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings]
        if cls.file is not None:
            sources.append(TomlConfigSettingsSource(settings_cls, cls.file))
        return tuple(sources)

    @property
    def default_model(self) -> str:
        return next(iter(self.models))

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can reach the server."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return True  # a name, which may be anything


def read_settings(file: Path | None = None, **given: Any) -> Settings:
    """The settings of a file, of the environment and these.

    Raises:
        ValueError: a setting is not what it must be, or the network is let in without a token.
    """
    if file is not None and not file.is_file():
        raise ValueError(f"`config` must be a file. Received: {file}")
    reader: Any = type("Settings", (Settings,), {"file": file, "__module__": __name__})
    try:
        settings: Settings = reader(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        received = "(a secret)" if name == "token" else repr(first["input"])[:200]
        must = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"`{name}`: {must}. Received: {received}") from None
    except (OSError, ValueError) as error:  # a file that is no TOML
        raise ValueError(f"`config` must be TOML. Received: {file} ({error})") from error
    if settings.is_exposed and not (settings.token or settings.insecure):
        raise ValueError(
            "`token` must be set where other machines can connect, or `insecure` be said. "
            f"Received: host={settings.host}"
        )
    if settings.token is not None and not settings.token.get_secret_value().strip():
        raise ValueError("`token` must not be empty. Received: (a secret)")
    return settings


def _name_of(word: str) -> tuple[str, str]:
    """Name and source of `NAME=SOURCE`, or of a source, which is called as its last part."""
    name, is_named, source = word.partition("=")
    if is_named:
        return name, source
    path = Path(word)
    return (path.stem if path.is_file() else path.name if path.exists() else word), word
