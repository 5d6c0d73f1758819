"""How much each noise level counts: weights on the squared error of whatever the net predicts.

Every weighting is a weight on the error of x0_hat, kept in logs so that no signal-to-noise ratio overflows, and
converted: for one belief about x_t of unit variance, with SNR = a^2 / b^2 and a^2 + b^2 = 1,

    |eps error|^2 = SNR |x0 error|^2, |v error|^2 = (SNR + 1) |x0 error|^2, |score error|^2 = SNR (SNR + 1) |x0 error|^2
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Weighting:
    """A row of `WEIGHTINGS` and its numbers; each row reads its own.

    Attributes:
        kind: a key of `WEIGHTINGS`.
        min_snr_gamma: gamma of Hang et al. (2023).
        p2_gamma, p2_k: gamma and k of Choi et al. (2022).
    """

    kind: str = "constant"
    min_snr_gamma: float = 5.0
    p2_gamma: float = 1.0
    p2_k: float = 1.0


def constant(target: str, log_snr: Tensor, numbers: Weighting) -> Tensor:  # noqa: ARG001  (one signature for all)
    """1 for eps (L_simple of Ho et al. 2020, eq. 14), x0 and v; the variance of the noise, b^2, for the score.

    The score's errors grow as 1 / b^2: weighted by b^2 they are those of eps (Song & Ermon 2019, sec. 4.2).
    """
    return torch.sigmoid(-log_snr) if target == "score" else torch.ones_like(log_snr)


def min_snr(target: str, log_snr: Tensor, numbers: Weighting) -> Tensor:
    """min(SNR, gamma) on x0 (Hang et al. 2023): min(SNR, gamma) / SNR on eps, / (SNR + 1) on v.

    Where no signal is left (zero terminal SNR) the weight is 0: that one step is not trained.
    """
    return _from_x0(target, log_snr, log_snr.clamp(max=math.log(numbers.min_snr_gamma)))


def p2(target: str, log_snr: Tensor, numbers: Weighting) -> Tensor:
    """1 / (k + SNR)^gamma on eps (Choi et al. 2022, sec. 3); 0 on x0 and v where no signal is left."""
    discount = numbers.p2_gamma * torch.logaddexp(torch.full_like(log_snr, math.log(numbers.p2_k)), log_snr)
    return _from_x0(target, log_snr, log_snr - discount)


def truncated_snr(target: str, log_snr: Tensor, numbers: Weighting) -> Tensor:  # noqa: ARG001
    """max(SNR, 1) on x0 (Salimans & Ho 2022, sec. 4): max(1, 1 / SNR) on eps, which grows without bound."""
    return _from_x0(target, log_snr, log_snr.clamp(min=0))


WEIGHTINGS: dict[str, Callable[[str, Tensor, Weighting], Tensor]] = {
    "constant": constant,
    "min-snr": min_snr,
    "p2": p2,
    "truncated-snr": truncated_snr,
}
"""objective.weighting -> function of (target, log SNR, numbers); `vlb` is no weight but a bound of its own."""


def _from_x0(target: str, log_snr: Tensor, log_weight: Tensor) -> Tensor:
    """The weight on the target's squared error that equals exp(log_weight) on that of x0."""
    return (log_weight - LOG_ERROR[target](log_snr)).exp()


LOG_ERROR: dict[str, Callable[[Tensor], Tensor]] = {
    "eps": lambda log_snr: log_snr,
    "x0": torch.zeros_like,
    "v": F.softplus,
    "score": lambda log_snr: log_snr + F.softplus(log_snr),
}
"""Target -> log of its squared error over that of x0, for one belief; eps and score need some signal in x_t."""
