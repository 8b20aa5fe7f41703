"""CIFAR-10 and CIFAR-100 as they are published: names, sizes and order of what their files hold.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page
https://www.cs.toronto.edu/~kriz/cifar.html, which describes both versions. A record of the binary one is a label byte
(of CIFAR-100 two, coarse and fine) and then 1,024 red, 1,024 green and 1,024 blue bytes, every plane row by row. A file
of the Python version is a pickled dictionary with `data`, uint8 (records, 3,072) in the same order, and the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlperf.data import download

PIXELS = 3 * 32 * 32


@dataclass(eq=False)
class Layout:
    """What the published forms of a data set look like.

    Attributes:
        name: As `dataset` says it.
        title: As people say it.
        label_names: What the labels mean.
        binary_folder: The folder of the binary version, in its archive too.
        python_folder: That of the Python version.
        binary_train: Training files of the binary version, in their order.
        binary_test: Its test file.
        python_train: Training files of the Python version, in their order.
        python_test: Its test file.
        python_meta: Its file of names, which tells a folder where the others are called like anything.
        label_bytes: Bytes before the pixels of a binary record; the last is the label.
        label_key: The label's name in the Python version.
        label_columns: Its names in Parquet files.
        archive: The binary version's archive, as it is downloaded.
        archives: Names under which archives are kept, Keras's among them.
        first_labels: The labels with which the training files begin, in their order, which tell how rows without files
            are ordered.
        first_test_labels: Those of the test file.
        train_examples: Training images.
        test_examples: Test images.
    """

    name: str
    title: str
    label_names: tuple[str, ...]
    binary_folder: str
    python_folder: str
    binary_train: tuple[str, ...]
    binary_test: str
    python_train: tuple[str, ...]
    python_test: str
    python_meta: str
    label_bytes: int
    label_key: str
    label_columns: tuple[str, ...]
    archive: download.Archive
    archives: tuple[str, ...]
    first_labels: tuple[tuple[int, ...], ...]
    first_test_labels: tuple[int, ...]
    train_examples: int = 50_000
    test_examples: int = 10_000

    @property
    def binary_files(self) -> tuple[str, ...]:
        """All files of the binary version."""
        return (*self.binary_train, self.binary_test)

    @property
    def python_files(self) -> tuple[str, ...]:
        """All files with images of the Python version."""
        return (*self.python_train, self.python_test)

    @property
    def record_bytes(self) -> int:
        """Bytes of a binary record."""
        return self.label_bytes + PIXELS

    def records(self, file: str) -> int:
        """Images in one file of either version."""
        if file in (self.binary_test, self.python_test):
            return self.test_examples
        return self.train_examples // len(self.first_labels)


def _archives(number: int, python_folder: str) -> tuple[str, ...]:
    published = (f"cifar-{number}-binary.tar.gz", f"cifar-{number}-python.tar.gz")
    keras = (f"{python_folder}.tar.gz", f"{python_folder}-target_archive", f"{python_folder}-target.tar.gz")
    return (*published, *keras)


_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

CIFAR10 = Layout(
    name="cifar10",
    title="CIFAR-10",
    label_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    binary_folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    binary_train=tuple(f"{file}.bin" for file in _CIFAR10_FILES[:-1]),
    binary_test=f"{_CIFAR10_FILES[-1]}.bin",
    python_train=_CIFAR10_FILES[:-1],
    python_test=_CIFAR10_FILES[-1],
    python_meta="batches.meta",
    label_bytes=1,
    label_key="labels",
    label_columns=("label",),
    archive=download.Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        size=170_052_171,
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        members=tuple(f"cifar-10-batches-bin/{file}.bin" for file in _CIFAR10_FILES),
    ),
    archives=_archives(10, "cifar-10-batches-py"),
    first_labels=(
        (6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 7, 2, 9, 9, 9, 3, 2, 6),
        (1, 6, 6, 8, 8, 3, 4, 6, 0, 6, 0, 3, 6, 6, 5, 4, 8, 3, 2, 6),
        (8, 5, 0, 6, 9, 2, 8, 3, 6, 2, 7, 4, 6, 9, 0, 0, 7, 3, 7, 2),
        (0, 6, 0, 2, 7, 2, 1, 2, 4, 1, 5, 6, 6, 3, 1, 3, 5, 5, 8, 1),
        (1, 8, 5, 1, 5, 7, 4, 3, 8, 2, 7, 2, 0, 1, 5, 9, 6, 2, 0, 8),
    ),
    first_test_labels=(3, 8, 8, 0, 6, 6, 1, 6, 3, 1),
)

_FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

CIFAR100 = Layout(
    name="cifar100",
    title="CIFAR-100",
    label_names=tuple(_FINE_LABELS.split()),
    binary_folder="cifar-100-binary",
    python_folder="cifar-100-python",
    binary_train=("train.bin",),
    binary_test="test.bin",
    python_train=("train",),
    python_test="test",
    python_meta="meta",
    label_bytes=2,
    label_key="fine_labels",
    label_columns=("fine_label",),
    archive=download.Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        size=168_513_733,
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        members=("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
    ),
    archives=_archives(100, "cifar-100-python"),
    first_labels=((19, 29, 0, 11, 1),),
    first_test_labels=(49, 33, 72),
)
