"""The text form of the vectors in `tests/vectors/`: `[case]`, `name = value`, `#` comments; values are hexadecimal, seldom text."""

from pathlib import Path

from independent.outer import DataFrame

FOLDER = Path(__file__).parents[2] / "vectors"
NOW = 1_800_000_000_000  # when all vectors were made
EXPIRY = NOW + 86_400_000


class Case(dict[str, str]):
    """One case: its fields in their order."""

    def hex(self, name: str) -> bytes:
        return bytes.fromhex(self[name])

    def frame(self, name: str = "frame") -> DataFrame:
        return DataFrame.decode(self.hex(name))


def parse(text: str) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    case = Case()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            case = cases[line[1:-1]] = Case()
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            case[name.strip()] = value.strip()
    return cases


def read(name: str) -> dict[str, Case]:
    return parse((FOLDER / name).read_text(encoding="utf-8"))


def write(story: str, cases: dict[str, dict[str, bytes | str]]) -> str:
    lines = [f"# {line}" for line in story.splitlines()]
    for case, fields in cases.items():
        lines += ["", f"[{case}]"]
        lines += [f"{name} = {value if isinstance(value, str) else value.hex()}".strip() for name, value in fields.items()]
    return "\n".join(lines) + "\n"


class Counting:
    """Random bytes that anybody can make: 0, 1, 2, ..., and after 255 again 0. `position` is how many were drawn."""

    def __init__(self) -> None:
        self.position = 0

    def __call__(self, length: int) -> bytes:
        self.position += length
        return bytes(at % 256 for at in range(self.position - length, self.position))
