"""What docstrings say of parameters, for pages that must say the same."""

# Ref: numpydoc, "Style guide", section Parameters

import inspect
import re

__all__ = ["describe_parameters", "in_a_comment"]


def describe_parameters(kind: type) -> dict[str, str]:
    """Read the section Parameters of a docstring.

    Parameters
    ----------
    kind : type
        A class with a docstring in the style of numpydoc.

    Returns
    -------
    dict of str to str
        By the name of the parameter, what is said of it, in one line. Parameters that share an
        entry have the same text.
    """
    document = inspect.getdoc(kind) or ""
    _, _, section = document.partition("\nParameters\n----------\n")
    section = re.split(r"^\w+\n-+\n", section, maxsplit=1, flags=re.MULTILINE)[0]
    described: dict[str, str] = {}
    for names, text in re.findall(r"^(\w.*?)(?: : .*)?\n((?: +.*\n?|\n)*)", section, re.MULTILINE):
        described |= dict.fromkeys(re.split(r", *", names), " ".join(text.split()))
    return described


def in_a_comment(text: str) -> str:
    """Write a sentence of a docstring as the end of a line of code: in small letters, unmarked."""
    text = re.sub(r":\w+:`[~.]?([^`]*)`", r"\1", text).replace("`", "").removesuffix(".")
    return text if text[1:2].isupper() or text[1:2].isdigit() else text[:1].lower() + text[1:]
