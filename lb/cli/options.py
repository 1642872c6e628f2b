# SPDX-License-Identifier: Apache-2.0
"""Command classes: global options accepted before and after the verb, and examples in every help."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lb.cli.target import DEFAULT_TARGET, Target, parse_target
from lb.cli.tls import TlsOptions

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_SECONDS = 10.0
"""For an answer of lbd, where nothing else is said."""

PATIENT_TIMEOUT_SECONDS = 120.0
"""For what takes lbd longer, in proportion to the configuration: plans, and a read-back of all maps."""

MAX_SECONDS = 86_400


def parse_seconds(text: str | float) -> float:
    """A positive, finite number of seconds; raises ``click.BadParameter``."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_SECONDS:
        raise click.BadParameter(f"{text!r} is not a time: give seconds, above 0 and up to {MAX_SECONDS}")
    return seconds


def bpf_dir_option(text: str) -> Callable[[F], F]:
    """``--bpf-dir`` of the commands that look at this machine's pins themselves; ``text`` of its help."""
    return click.option(
        "--bpf-dir",
        metavar="DIR",
        type=click.Path(file_okay=False, readable=False, path_type=Path),
        default=Path("/run/lb/bpf"),
        show_default=True,
        help=text,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options; ``output`` and ``timeout_seconds`` are None when they were not given."""

    target: Target
    output: str | None
    timeout_seconds: float | None


class GlobalOption(click.Option):
    """An option of every command and group. The innermost one on the command line wins."""


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # ctx.meta is shared by the contexts of all levels; a default must not undo what an outer level was given.
    key = f"{__name__}.{param.name}"
    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        ctx.meta[key] = value
    else:
        ctx.meta.setdefault(key, value)


def _global_options() -> list[click.Parameter]:
    return [
        GlobalOption(
            ["--target"],
            type=parse_target,
            metavar="TARGET",
            envvar="LB_TARGET",
            default=DEFAULT_TARGET,
            show_default=True,
            show_envvar=True,
            expose_value=False,
            callback=_remember,
            help="lbd's socket: unix:///PATH or a path; or HOST:PORT, which takes the --tls options.",
        ),
        _tls_option("ca", "CA that signed lbd's certificate.", file=True),
        _tls_option("cert", "Our certificate; its role says what we may do.", file=True),
        _tls_option("key", "Private key of our certificate.", file=True),
        _tls_option("server-name", "Name in lbd's certificate, if not HOST.", file=False),
        GlobalOption(
            ["-o", "--output"],
            type=click.Choice(["table", "json", "yaml"]),
            expose_value=False,
            callback=_remember,
            help="How to print the data (table by default).",
        ),
        GlobalOption(
            ["--timeout"],
            type=parse_seconds,
            metavar="SECONDS",
            expose_value=False,
            callback=_remember,
            help="How long to wait for each answer of lbd; 10 unless set, 120 for plans.",
        ),
    ]


def _tls_option(name: str, text: str, *, file: bool) -> GlobalOption:
    """``--tls-NAME``; a ``file`` is one in PEM form."""
    return GlobalOption(
        [f"--tls-{name}"],
        type=click.Path(dir_okay=False, path_type=Path) if file else str,
        metavar="FILE" if file else "NAME",
        envvar=f"LB_TLS_{name.replace('-', '_').upper()}",
        show_envvar=True,
        expose_value=False,
        callback=_remember,
        help=text,
    )


def settings() -> Settings:
    """The global options of the running command."""
    return settings_of(click.get_current_context())


def settings_of(ctx: click.Context) -> Settings:
    """The global options that were given in ``ctx`` or around it."""
    given = {key.rpartition(".")[2]: value for key, value in ctx.meta.items() if key.startswith(f"{__name__}.")}
    tls = TlsOptions(given["tls_ca"], given["tls_cert"], given["tls_key"], given["tls_server_name"])
    return Settings(replace(given["target"], tls=tls), given["output"], given["timeout"])


class Command(click.Command):
    """A command with the global options, and with ``examples``: lines that its help shows (and a test runs)."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params += _global_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then commands, the global options last."""
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                (everywhere if isinstance(param, GlobalOption) else own).append(record)
        _section(formatter, "Options", own)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        _section(formatter, "Global options", everywhere)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line, never wrapped."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


class Group(Command, click.Group):
    """A group with the global options and examples; so are its commands."""

    command_class = Command


def _section(formatter: click.HelpFormatter, title: str, records: list[tuple[str, str]]) -> None:
    if records:
        with formatter.section(title):
            formatter.write_dl(records)
