"""What is on the bench: data sets, each with the settings it is trained with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nibblegrad.gen.robust import images, tables
from nibblegrad.golden.training import data
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.networks import Settings

__all__ = ["CASES", "REDUCED", "Case"]


@dataclass(frozen=True)
class Case:
    """A data set and the settings it is trained with.

    Attributes
    ----------
    name : str
        Key of :data:`CASES`.
    make : function
        Makes the data set, the same to the bit whenever it is called.
    settings : Settings
        Network and schedule.
    about : str
        What is special about it, for tables.
    """

    name: str
    make: Callable[[], Dataset]
    settings: Settings
    about: str


_table = tables.generated
_one_cluster = partial(_table, n_redundant=0, n_clusters_per_class=1)
_classes20 = partial(
    _one_cluster, 6000, 16, n_informative=12, n_classes=20, class_sep=2, random_state=0
)
_classes26 = partial(_one_cluster, features=16, count=16, n_informative=14, n_classes=26)
_clusters32 = partial(_table, 4000, 32, n_informative=20, n_classes=10, class_sep=2, random_state=2)
_clusters10 = partial(
    _table,
    4000,
    10,
    count=16,
    n_informative=8,
    n_redundant=0,
    n_classes=10,
    class_sep=2,
    random_state=3,
)
_small = partial(tables.few_rows, 160, 9)


def _plain(random_state):
    """Give the maker of a table without anything special."""
    return partial(
        _one_cluster,
        4000,
        20,
        n_informative=12,
        n_classes=6,
        class_sep=1.5,
        random_state=random_state,
    )


_REAL_TABLES = (
    Case("cancer", tables.breast_cancer, Settings(), "breast cancer"),
    Case("wine", tables.wine, Settings(), "wine"),
)

_GENERATED = (
    Case("plain-0", _plain(50), Settings(), "nothing special"),
    Case("plain-1", _plain(51), Settings(), "the same, another seed"),
    Case("plain-2", _plain(52), Settings(), "the same, another seed"),
    Case("small", _small, Settings(), "few rows"),
    Case(
        "binary",
        partial(_table, 2000, 10, n_informative=6, n_classes=2, random_state=8),
        Settings(),
        "two classes that overlap",
    ),
    Case(
        "noise36",
        partial(_table, 1200, 36, n_informative=18, n_classes=4, random_state=0),
        Settings(),
        "half of the features noise",
    ),
    Case("classes20", _classes20, Settings(epochs=8), "many classes"),
    Case(
        "classes26",
        partial(_classes26, 6000, class_sep=3, random_state=1),
        Settings(epochs=8),
        "many classes, 16 levels",
    ),
    Case(
        "classes50",
        partial(
            _one_cluster, 8000, 24, n_informative=20, n_classes=50, class_sep=3, random_state=12
        ),
        Settings(),
        "most classes",
    ),
    Case("clusters32", _clusters32, Settings(epochs=8), "two clusters per class"),
    Case(
        "clusters10-1",
        partial(_clusters10, n_clusters_per_class=1),
        Settings(epochs=8),
        "one cluster per class, 16 levels",
    ),
    Case(
        "clusters10-2",
        partial(_clusters10, n_clusters_per_class=2),
        Settings(epochs=8),
        "two clusters per class, 16 levels",
    ),
    Case(
        "letters",
        partial(_classes26, 20000, class_sep=2.5, random_state=5),
        Settings(epochs=8),
        "many rows, 16 levels",
    ),
    Case(
        "wide300",
        partial(_table, 3000, 300, n_informative=30, n_classes=5, class_sep=1.5, random_state=11),
        Settings(),
        "many features, most of them noise",
    ),
    Case(
        "unbalanced",
        partial(
            _table,
            4000,
            20,
            n_informative=10,
            n_classes=3,
            weights=[0.85, 0.1, 0.05],
            class_sep=1.5,
            random_state=7,
        ),
        Settings(),
        "classes of unequal size",
    ),
)

_ODD_FEATURES = (
    Case("scales", partial(tables.unequal_scales, 20), Settings(), "features of unequal scale"),
    Case("sparse", partial(tables.mostly_zeros, 0), Settings(), "most numbers zero"),
    Case("constant", partial(tables.constant_features, 30), Settings(), "constant features"),
    Case("heavy", partial(tables.heavy_tails, 10), Settings(), "heavy-tailed features"),
    Case("sorted", partial(tables.sorted_rows, 40), Settings(), "rows sorted by class"),
    Case("blank", partial(images.blank_first_class, 5), Settings(), "first class all but blank"),
)

_ODD_SETTINGS = (
    Case("plain-0.02", _plain(50), Settings(learning_rate=0.02), "learning rate 0.02"),
    Case("plain-0.2", _plain(50), Settings(learning_rate=0.2), "learning rate 0.2"),
    Case(
        "clusters32-0.2",
        _clusters32,
        Settings(learning_rate=0.2),
        "two clusters, learning rate 0.2",
    ),
    Case("small-b1", _small, Settings(batch=1, learning_rate=0.02), "few rows, batch 1, rate 0.02"),
    Case("plain-b7", _plain(51), Settings(batch=7, epochs=5), "batch 7"),
    Case("plain-b256", _plain(51), Settings(batch=256, epochs=30), "batch 256"),
    Case("hidden1", _classes20, Settings(hidden=(128,)), "one hidden layer"),
    Case("hidden3", _classes20, Settings(hidden=(128, 64, 32)), "three hidden layers"),
    Case("hidden5", _classes20, Settings(hidden=(64,) * 5), "five hidden layers of 64"),
    Case(
        "width8",
        partial(
            _one_cluster,
            4000,
            20,
            n_informative=10,
            n_classes=4,
            class_sep=1.5,
            random_state=13,
        ),
        Settings(hidden=(8, 8)),
        "hidden layers of 8",
    ),
    Case(
        "width512",
        partial(
            _table,
            4000,
            20,
            n_informative=12,
            n_redundant=0,
            n_classes=10,
            class_sep=2,
            random_state=14,
        ),
        Settings(hidden=(512,)),
        "a hidden layer of 512",
    ),
)

_DIGITS = (
    Case("digits", data.digits, Settings(), "digits"),
    Case("digits-0.02", data.digits, Settings(learning_rate=0.02), "digits, learning rate 0.02"),
    Case("digits-0.2", data.digits, Settings(learning_rate=0.2), "digits, learning rate 0.2"),
    Case("digits-b1", data.digits, Settings(batch=1, epochs=3), "digits, batch 1"),
    Case("digits-b7", data.digits, Settings(batch=7, epochs=10), "digits, batch 7"),
    Case("digits-b256", data.digits, Settings(batch=256, epochs=30), "digits, batch 256"),
    Case("digits-cnn", data.digits, Settings(network="cnn", epochs=10), "digits"),
    Case("digits28", images.large_digits, Settings(), "digits of 28 x 28 pixels"),
    Case(
        "digits28-cnn",
        images.large_digits,
        Settings(network="cnn", epochs=3),
        "digits of 28 x 28 pixels",
    ),
    Case(
        "digits28-cnn-0.2",
        images.large_digits,
        Settings(network="cnn", epochs=3, learning_rate=0.2),
        "the same, learning rate 0.2",
    ),
)

_TEXTURES = (
    Case("textures", partial(images.coloured_textures, 0), Settings(), "coloured textures"),
    Case(
        "textures-cnn",
        partial(images.coloured_textures, 0),
        Settings(network="cnn", epochs=3),
        "coloured textures",
    ),
)

#: Every case, by name, in the order of the table.
CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *_REAL_TABLES,
        *_GENERATED,
        *_ODD_FEATURES,
        *_ODD_SETTINGS,
        *_DIGITS,
        *_TEXTURES,
    )
}

#: Names of the cases of the reduced bench: one of each kind, and those that take seconds.
REDUCED = (
    "cancer",
    "plain-0",
    "binary",
    "noise36",
    "classes20",
    "clusters10-1",
    "constant",
    "heavy",
    "sorted",
    "blank",
    "digits",
    "digits-cnn",
)
