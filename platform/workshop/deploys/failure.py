"""What every failed deploy ends in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.errors import WorkshopError

if TYPE_CHECKING:
    from workshop.intake.orders import Finding


class DeployFailed(WorkshopError):
    """A version did not go live; ``finding`` says why. The one before it is still there."""

    code = "deploy-failed"

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message, hint=finding.next)
        self.finding = finding
