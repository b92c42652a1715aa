"""Audit: what is wrong with a recipe's data, found before it is trained on."""

from __future__ import annotations

from ..errors import UserError
from ..stages import STAGES, Stage
from .audit_rows import audit_rows
from .audit_texts import audit_conversations, audit_documents
from .findings import Finding
from .material import Material


def audit(material: Material, *, full: bool = False) -> list[Finding]:
    """Look at a sample of every stage's data and batches, or at all of them.

    Malformed conversations can't become rows: a stage that has some is looked at no further.
    """
    return [finding for stage in STAGES.values() for finding in _audit_stage(material, stage, full)]


def _audit_stage(material: Material, stage: Stage, full: bool) -> list[Finding]:
    if stage.reads == "documents":
        found = audit_documents(material.recipe, full=full)
        return found or audit_rows(material, stage, full=full)
    found = audit_conversations(material.recipe, stage, full=full)
    if any(finding.kind == "malformed conversation" for finding in found):
        return found
    return found + audit_rows(material, stage, full=full)


def complaint(findings: list[Finding]) -> UserError:
    """The findings as one error: the list, each with where and what to do."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.stage}: {finding.kind}: {finding.what}")
        lines += [f"    {place}" for place in finding.places]
        if finding.count > len(finding.places) > 0:
            lines.append(f"    and {finding.count - len(finding.places):,} more")
        lines.append(f"  → {finding.remedy}")
    return UserError(f"the audit found {len(findings)} problem{'s' * (len(findings) > 1)}:\n" + "\n".join(lines))
