"""What the notebook published of problem 1: 200 epochs, one run each, on its GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One of its trainings.

    Attributes:
        min_train_loss: Lowest training loss of an epoch, penalty included, dropout active.
        final_train_loss: That of the last epoch.
        seconds: Time of `fit`, tracing included.
        test_accuracy: After the last epoch.
    """

    min_train_loss: float
    final_train_loss: float
    seconds: float
    test_accuracy: float


EPOCHS = 200
ROWS = {  # (optimizer, dropout)
    ("adagrad", False): Published(1.5973317623138428, 1.5973317623138428, 415.31490755081177, 0.5102999806404114),
    ("rmsprop", False): Published(1.9577230215072632, 1.9685896635055542, 554.7393670082092, 0.3312000036239624),
    ("nadam", False): Published(1.817350149154663, 1.848476529121399, 788.6662545204163, 0.39750000834465027),
    ("adadelta", False): Published(4.688837051391602, 4.688837051391602, 461.5627610683441, 0.4507000148296356),
    ("adam", False): Published(1.8387531042099, 1.8734663724899292, 423.1025047302246, 0.41760000586509705),
    ("adagrad", True): Published(1.7147144079208374, 1.7147144079208374, 444.38312220573425, 0.4805000126361847),
    ("rmsprop", True): Published(2.243259906768799, 2.252845525741577, 584.0763900279999, 0.25529998540878296),
    ("nadam", True): Published(2.2300102710723877, 2.2887513637542725, 812.9193739891052, 0.2567000091075897),
    ("adadelta", True): Published(5.573465824127197, 5.573465824127197, 484.38758873939514, 0.40369999408721924),
    ("adam", True): Published(2.293626546859741, 2.3687984943389893, 448.29078125953674, 0.28119999170303345),
}
