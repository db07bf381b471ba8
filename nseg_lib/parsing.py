"""YAML and JSON that a stranger may have written: parsed within limits, or refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from reprlib import Repr
from typing import Any

import yaml

from nseg_lib import limits


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line."""


def read_yaml(text: str | bytes, origin: str) -> Any:
    """Parse YAML; ``origin`` is named in errors.

    Raises:
        ConfigError: it is not YAML, longer than :data:`nseg_lib.limits.MAX_CONFIG_BYTES`, nested
            too deeply, has a key twice, or an alias, by which a few bytes can stand for gigabytes.
    """
    return _read(text, origin, "YAML", lambda: yaml.load(text, _Loader))  # a SafeLoader


def read_json(text: str | bytes, origin: str) -> Any:
    """The same for JSON."""
    return _read(text, origin, "JSON", lambda: json.loads(text, object_pairs_hook=no_key_twice))


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its keys and values, for ``json.loads``, which by itself keeps the last of a
    key's values without a word; ValueError for a key that stands there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {short(max(keys, key=keys.count))} stands there twice")
    return found


def _read(text: str | bytes, origin: str, language: str, parsed: Callable[[], Any]) -> Any:
    if len(text) > limits.MAX_CONFIG_BYTES:
        raise ConfigError(f"{origin}: too long; at most {limits.MAX_CONFIG_BYTES:,} bytes are read")
    try:
        return parsed()
    except RecursionError:
        raise ConfigError(f"{origin}: not valid {language}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter of a date or a number that is none
        said = " ".join(str(error).split())[: limits.MAX_SHOWN]
        raise ConfigError(f"{origin}: not valid {language}: {said}") from None


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number, as in YAML 1.2; without aliases and repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not allowed; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                again = f"stands there twice, again in line {key.start_mark.line + 1}"
                raise yaml.YAMLError(f"key {short(key.value)} {again}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def short(value: Any) -> str:
    """A value as an error message shows it: as Python writes it, cut where it is long or deep."""
    return _SHORT.repr(value)


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, limits.MAX_SHOWN, limits.MAX_SHOWN


def dotted(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted keys, as ``training.epochs``; an empty section has none."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        inner = dotted(value) if isinstance(value, Mapping) else None
        found |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    return found
