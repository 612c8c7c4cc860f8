"""Whether the framework that an adapter is for is there, and is the one that is meant."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata

from ..exceptions import FrameworkMissing


def require(module: str, distribution: str, *, extra: str, at_least: str = "0", trap: str = "") -> str:
    """Returns the version of an installed framework.

    module: what is imported. distribution: what is installed to have it. extra: the extra of a2alinker that brings it.
    at_least: the first version that will do, numbers separated by dots.
    trap: what is known to go wrong with this one; shown when it did.

    Raises:
        FrameworkMissing: it isn't there, is too old, or something else has its name.
    """
    hint = f"pip install 'a2alinker[{extra}]'"
    if importlib.util.find_spec(module) is None:
        raise FrameworkMissing(f"{distribution} isn't installed: {hint}", extra=extra)
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        others = ", ".join(metadata.packages_distributions().get(module, ())) or "something without a name"
        raise FrameworkMissing(
            f"the module {module!r} that is installed belongs to {others} and not to {distribution}: uninstall that, then {hint}"
            + (f". {trap}" if trap else ""),
            extra=extra,
        ) from None
    if _numbers(version) < _numbers(at_least):
        raise FrameworkMissing(
            f"{distribution} {version} is installed, and {at_least} or later is needed: {hint}" + (f". {trap}" if trap else ""), extra=extra
        )
    return version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
