"""Errors that a person can act on: one line that names the place and the remedy.

Everything that dataworth raises on purpose is a `DataworthError`; the command line shows its
message without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "classify": ("sklearn", "skops", "fasttext"),
    "langid": ("py3langid",),
    "s3": ("s3fs",),
    "hf": ("datasets", "huggingface_hub"),
    "lm": ("torch", "transformers", "safetensors", "scipy"),
    "kenlm": ("kenlm",),
    "embed": ("sentence_transformers", "model2vec", "sklearn", "torch", "safetensors"),
    "judge": ("httpx", "threadpoolctl"),
    "mixtures": ("lightgbm", "scipy"),
}
"""The modules that each extra brings."""


class DataworthError(Exception):
    """Something the user can mend; the message says where it is and what to do."""

    exit_code = 1


class InputError(DataworthError):
    """The data cannot be read: names the file, the place in it and the remedy."""


class ConfigError(DataworthError):
    """An option or a recipe is wrong: names the option, what was given and what is allowed."""

    exit_code = 2


class RunError(DataworthError):
    """The run folder does not fit the command: changed configuration, changed inputs, in use."""


class MissingExtra(DataworthError):  # noqa: N818
    """An optional package is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an extra: pip install '.[{extra}]' in a clone of dataworth, or "
            f"pip install 'path/to/dataworth-….whl[{extra}]'"
        )


def check_extra(what: str, extra: str) -> None:
    """Raise MissingExtra unless all that an extra brings is installed, without importing it."""
    if any(find_spec(module) is None for module in EXTRAS[extra]):
        raise MissingExtra(what, extra)
