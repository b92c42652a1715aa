"""Facts about accelerators, as their makers publish them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UserError


@dataclass(frozen=True)
class Accelerator:
    """One kind of device."""

    teraflops: float
    """Dense bfloat16, 10¹² operations a second, at most."""
    gigabytes: float
    """Memory, 10⁹ bytes."""
    inside: float
    """10⁹ bytes a second that a device sends to others in its machine (NVLink one way, or PCIe)."""
    price: float
    """US dollars an hour; what clouds ask differs by a factor of two and changes."""


ACCELERATORS = {
    "A100": Accelerator(312, 80, 300, 1.8),
    "H100": Accelerator(989, 80, 450, 3.0),
    "H200": Accelerator(989, 141, 450, 3.5),
    "B200": Accelerator(2250, 180, 900, 5.5),
    "L40S": Accelerator(362, 48, 32, 1.0),
    "L4": Accelerator(121, 24, 32, 0.7),
    "RTX4090": Accelerator(165, 24, 32, 0.5),
}
PER_MACHINE = 8
BETWEEN_MACHINES = 50.0
"""10⁹ bytes a second and device: a network card of 400 Gb/s for each."""


@dataclass(frozen=True)
class Hardware:
    """So many devices of one kind."""

    count: int
    kind: str

    @classmethod
    def parse(cls, text: str) -> Hardware:
        """From `8xH100`. Raises `UserError` for what is not known."""
        match = re.fullmatch(r"(?:(\d+)\s*[x×])?\s*(\w+)", text.strip())
        kind = match[2].upper() if match else ""
        count = int(match[1] or 1) if match else 0
        if kind not in ACCELERATORS or count < 1:
            raise UserError(f"--hardware {text}: expected COUNTxKIND, such as 8xH100; kinds: {', '.join(ACCELERATORS)}")
        return cls(count, kind)

    @property
    def device(self) -> Accelerator:
        """Its facts."""
        return ACCELERATORS[self.kind]

    @property
    def bandwidth(self) -> float:
        """Bytes a second that a device sends when all exchange with all."""
        return 1e9 * (self.device.inside if self.count <= PER_MACHINE else BETWEEN_MACHINES)

    def __str__(self) -> str:
        return f"{self.count}×{self.kind}"
