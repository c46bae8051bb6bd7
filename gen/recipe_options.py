"""The options that choose training methods, the same for every command that trains."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nibblegrad.gen.ranges import parse_names
from nibblegrad.golden.training.methods import METHODS, RECIPES, VARIANTS, load_folder
from nibblegrad.golden.training.recipes import Recipe

__all__ = ["EVERY", "add_methods_argument", "add_recipe_arguments", "chosen_recipes", "label"]

#: What stands for all recipes.
EVERY = "all"


def add_recipe_arguments(
    parser: argparse.ArgumentParser, *, with_variants: bool = False, remark: str = ""
) -> None:
    """Add ``--recipes``, and ``--methods`` for those of a user's own.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    with_variants : bool
        Whether variants can be chosen, too.
    remark : str
        What the help says at its end.
    """

    def explain() -> str:
        variants = f"; there are variants as well: {', '.join(VARIANTS)}" if with_variants else ""
        return (
            f"training methods, separated by commas: {', '.join(RECIPES)} "
            f"(default: %(default)s){variants}{remark}"
        )

    recipes = parser.add_argument("--recipes", default=EVERY, metavar="NAMES", help=explain())

    def renew() -> None:
        recipes.help = explain()

    add_methods_argument(parser, renew)


def add_methods_argument(parser: argparse.ArgumentParser, renew: Callable[[], None]) -> None:
    """Add ``--methods``, which loads methods as soon as they are named.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    renew : function
        Called then, so that the help of other options lists them.
    """

    class Load(argparse.Action):
        """Loads the methods of a folder."""

        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            load_folder(Path(str(values)))
            renew()

    parser.add_argument(
        "--methods",
        action=Load,
        metavar="DIR",
        help="folder with training methods of your own, Python files of one METHOD each, as those "
        "of golden/training/methods; may be repeated, and stands before --help to have them listed",
    )


def chosen_recipes(args: argparse.Namespace, *, with_variants: bool = False) -> list[Recipe]:
    """List the recipes that the options ask for, in the order of their naming.

    Raises
    ------
    InputError
        If one is not known.
    """
    known = RECIPES | VARIANTS if with_variants else RECIPES
    if args.recipes == EVERY:
        return list(RECIPES.values())
    return [known[name] for name in parse_names("Recipe", args.recipes, known)]


def label(name: str) -> str:
    """Say what a recipe is called in the legends of charts; any other name stays."""
    method = METHODS.get(name)
    return method.label or name if method else name
