"""Write an inventory file for a farm: just enough TOML for scalars, lists and tables."""

import json
from collections.abc import Mapping


def table(title: str, values: Mapping[str, object]) -> str:
    """Return a TOML table; a value of None is left out."""
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([title, *lines, ""])


def _value(value: object) -> str:
    """Return a TOML value; JSON writes scalars and strings the way TOML does."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(key))} = {_value(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
