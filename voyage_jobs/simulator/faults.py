"""The fault script: a seeded list of what goes wrong, when.

A rule fires when everything it names holds at once; a rule that names nothing always fires. Draws depend on
the seed, the rule and the number of the call, job or line alone, so a run is repeated by repeating its
seed. Of several call or line rules that would fire on the same call or line, the first in the script does.

Rules about items (a job, a file by its name) are drawn once an item and asked at every call about it, so
nothing of them stays where the rules go away.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs.core.clock import US
from voyage_jobs.errors import ConfigError
from voyage_jobs.simulator.fault_catalog import CATALOG, OPERATIONS, TRIGGERS_OF, Fault
from voyage_jobs.simulator.messages import Loss
from voyage_jobs.simulator.options import Options

FaultParams = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """Something that may be sick for long: its `key` decides, its `number` is what `nth` counts."""

    key: int | str
    number: int
    created_us: int


@dataclass(frozen=True)
class Hit:
    """A fault that fires now, with its parameters, and the rule that says so."""

    fault: str
    params: Mapping[str, Any]
    rule: Rule | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Any:
        return self.params[name]


@dataclass
class Rule:
    """One fault with its triggers. `seen` counts the calls it could strike, `fired` those it did."""

    fault: str
    params: Mapping[str, Any]
    on: frozenset[str] = OPERATIONS
    nth: frozenset[int] | None = None
    probability: float = 1.0
    times: int | None = None
    from_s: float = 0.0
    until_s: float = float("inf")
    jobs: frozenset[int] | None = None
    contains: str | None = None
    custom_ids: frozenset[str] | None = None
    seen: int = 0
    fired: int = 0

    def strikes(self, number: int, draw: float) -> bool:
        """Whether the number, the draw and the cap on firings let it fire."""
        if self.times is not None and self.fired >= self.times:
            return False
        return (self.nth is None or number in self.nth) and draw < self.probability

    def within(self, elapsed_s: float) -> bool:
        """Whether it is its time, in seconds since the simulator began."""
        return self.from_s <= elapsed_s < self.until_s


@dataclass
class FaultScript:
    """The rules of one run and a count of what has fired. The simulator sets when it began."""

    rules: Sequence[Rule] = ()
    seed: int | None = None
    options: Options | None = None
    fired: Counter[str] = field(default_factory=Counter)
    began_us: int = 0

    @classmethod
    def none(cls) -> FaultScript:
        """Nothing goes wrong."""
        return cls()

    @classmethod
    def from_file(cls, path: Path, options: Mapping[str, Any] | None = None) -> FaultScript:
        """A script from a JSON file, whose options go before these. Raises ConfigError that names the file."""
        try:
            raw = orjson.loads(path.read_bytes())
            return cls.from_dict(raw, options)
        except OSError as exc:
            raise ConfigError(f"Cannot read the fault script {path}: {exc.strerror}.") from exc
        except orjson.JSONDecodeError as exc:
            raise ConfigError(f"The fault script {path} is not valid JSON: {exc}.") from exc
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc.message}") from exc

    @classmethod
    def from_dict(cls, raw: Any, given: Mapping[str, Any] | None = None) -> FaultScript:
        """A script from plain data: `seed`, `options` and `faults`, all optional."""
        if not isinstance(raw, dict):
            raise ConfigError("A fault script is a JSON object.")
        _only(raw, {"seed", "options", "faults"}, "key of a fault script")
        seed, faults = raw.get("seed"), raw.get("faults", {})
        if seed is not None and type(seed) is not int:
            raise ConfigError(f"The seed of a fault script is a whole number, not {seed!r}.")
        if not isinstance(faults, dict):
            raise ConfigError("`faults` maps the names of faults to their rules.")
        rules = [rule for name, value in faults.items() for rule in _rules(name, value)]
        named = {**(given or {}), **raw["options"]} if "options" in raw else given
        options = None if named is None else Options.from_mapping(named)
        return cls(rules, seed, options)

    def call(
        self, operation: str, now_us: int, without: frozenset[str] = frozenset(), body_bytes: int = 0
    ) -> Hit | None:
        """The fault of this call, if any; `without` are those that cannot apply."""
        found = None
        for index, rule in enumerate(self.rules):
            if CATALOG[rule.fault].scope != "call" or rule.fault in without:
                continue
            if operation not in rule.on or not rule.within(self._elapsed_s(now_us)):
                continue
            if rule.fault == "too_large" and body_bytes <= rule.params["bytes"]:
                continue
            rule.seen += 1
            if found is None and rule.strikes(rule.seen, self._draw(index, rule, rule.seen)):
                found = self._fire(rule)
        return found

    def job(self, number: int, now_us: int) -> dict[str, Hit]:
        """All faults of the `number`-th job created, by name."""
        hits: dict[str, Hit] = {}
        elapsed_s = self._elapsed_s(now_us)
        for index, rule in enumerate(self.rules):
            if CATALOG[rule.fault].scope != "job" or rule.fault in hits or not rule.within(elapsed_s):
                continue
            if rule.strikes(number, self._draw(index, rule, number)):
                hits[rule.fault] = self._fire(rule)
        return hits

    def item(
        self, fault: str, item: Item, now_us: int, fits: Callable[[FaultParams], bool] | None = None
    ) -> Hit | None:
        """Whether `fault` strikes a call about this item now, by a rule whose parameters `fits` takes."""
        age_s = (now_us - item.created_us) / US
        for index, rule in enumerate(self.rules):
            if (
                rule.fault == fault
                and rule.within(self._elapsed_s(now_us))
                and _is_sick_at(rule, age_s)
                and rule.strikes(item.number, self._draw(index, rule, item.key))
                and (fits is None or fits(rule.params))
            ):
                return self._fire(rule)
        return None

    def chance(self, *key: int | str | tuple[int | str, ...]) -> float:
        """A number in [0, 1) that depends on the seed and the key alone."""
        drawn = hashlib.blake2b(repr((self.seed or 0, *key)).encode(), digest_size=7).digest()
        return int.from_bytes(drawn, "big") / (1 << 56)

    def withdraw(self, hit: Hit) -> None:
        """A fault that was to strike found nothing to strike: it does not count."""
        if hit.rule is not None:
            hit.rule.fired -= 1
            self.fired -= Counter([hit.fault])

    def line(
        self, job: int, number: int, custom_id: str, texts: Iterable[str], without: frozenset[str]
    ) -> Hit | None:
        """The fault of line `number` (from 1) of a job's input; `without` are those that cannot apply."""
        for index, rule in enumerate(self.rules):
            if CATALOG[rule.fault].scope != "line" or rule.fault in without:
                continue
            if (
                (rule.jobs is None or job in rule.jobs)
                and (rule.custom_ids is None or custom_id in rule.custom_ids)
                and (rule.contains is None or any(rule.contains in text for text in texts))
                and rule.strikes(number, self._draw(index, rule, job, number))
            ):
                return self._fire(rule)
        return None

    def _fire(self, rule: Rule) -> Hit:
        rule.fired += 1
        self.fired[rule.fault] += 1
        return Hit(rule.fault, rule.params, rule)

    def _elapsed_s(self, now_us: int) -> float:
        return (now_us - self.began_us) / US

    def _draw(self, index: int, rule: Rule, *key: int | str) -> float:
        """A number in [0, 1) that depends on the seed, the rule and the key alone."""
        return 0.0 if rule.probability >= 1.0 else self.chance(index, key)


def _is_sick_at(rule: Rule, age_s: float) -> bool:
    """Whether a rule about items holds so long after the item came to be."""
    seconds = rule.params.get("seconds")
    if CATALOG[rule.fault].starts_late:
        return age_s >= float(seconds or 0.0)
    return seconds is None or age_s < float(seconds)


def _rules(name: str, value: Any) -> list[Rule]:
    """The rules of one fault: a probability, a rule, or a list of those."""
    _only([name], CATALOG, "fault")
    values = value if isinstance(value, list) else [value]
    return [_rule(name, {"probability": v} if _is_number(v) else v) for v in values]


def _rule(name: str, raw: Any) -> Rule:
    fault = CATALOG[name]
    if not isinstance(raw, dict):
        raise ConfigError(f"A rule for {name} is a probability or an object, not {raw!r}.")
    _only(raw, TRIGGERS_OF[fault.scope] | set(fault.params), f"key of a rule for {name}")
    rule = Rule(
        name, {key: _param(name, key, raw.get(key, default)) for key, default in fault.params.items()}
    )
    rule.on = _operations(name, fault, raw.get("on"))
    rule.probability = _number(name, raw, "probability", 1.0, most=1.0)
    rule.from_s = _number(name, raw, "from_s", 0.0)
    rule.until_s = _number(name, raw, "until_s", float("inf"))
    rule.times = None if raw.get("times") is None else int(_number(name, raw, "times", 0))
    rule.nth = _numbers(name, raw, "nth")
    rule.jobs = _numbers(name, raw, "jobs")
    rule.contains = raw.get("contains")
    ids = raw.get("custom_ids")
    if (rule.contains is not None and not isinstance(rule.contains, str)) or not _is_strings(ids):
        raise ConfigError(f"{name}: `contains` is a text and `custom_ids` a list of texts.")
    rule.custom_ids = None if ids is None else frozenset(ids)
    return rule


def _param(name: str, key: str, value: Any) -> Any:
    """Check one parameter of a fault against its default."""
    default = CATALOG[name].params[key]
    if key == "as" and value not in {loss.value for loss in Loss}:
        raise ConfigError(f"{name}: `as` is one of {', '.join(loss.value for loss in Loss)}, not {value!r}.")
    choices = CATALOG[name].choices.get(key)
    if choices is not None and value not in choices:
        raise ConfigError(f"{name}: `{key}` is one of {', '.join(map(str, choices))}, not {value!r}.")
    same_type = type(value) is type(default)
    if not (same_type if isinstance(default, bool | str) else same_type or _is_number(value)):
        raise ConfigError(f"{name}: {value!r} is not a value for {key!r}.")
    return value


def _operations(name: str, fault: Fault, raw: Any) -> frozenset[str]:
    if raw is None:
        return fault.operations
    asked = [raw] if isinstance(raw, str) else raw
    if not _is_strings(asked):
        raise ConfigError(f"{name}: `on` is an operation or a list of operations.")
    _only(asked, fault.operations, f"operation for {name}")
    return frozenset(asked)


def _numbers(name: str, raw: Mapping[str, Any], key: str) -> frozenset[int] | None:
    value = raw.get(key)
    values = [value] if type(value) is int else value
    if values is not None and not (isinstance(values, list) and all(type(v) is int for v in values)):
        raise ConfigError(f"{name}: `{key}` is a whole number or a list of them, counted from 1.")
    return None if values is None else frozenset(values)


def _number(name: str, raw: Mapping[str, Any], key: str, default: float, most: float = float("inf")) -> float:
    value = raw.get(key, default)
    if not _is_number(value) or not 0 <= value <= most:
        raise ConfigError(f"{name}: {value!r} is not a value for {key!r}.")
    return float(value)


def _only(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise ConfigError for a name that is not known, with the nearest that is."""
    choices = sorted(known)
    for name in names:
        if name not in choices:
            near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.0)
            raise ConfigError(f"Unknown {what}: {name!r}; did you mean {near[0]!r}?")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_strings(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))
