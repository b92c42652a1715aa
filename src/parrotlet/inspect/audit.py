"""Audit: what is wrong with a recipe's data, found before it is trained on."""

from __future__ import annotations

from ..errors import UserError
from ..stages import STAGES
from .audit_rows import audit_rows
from .audit_texts import audit_texts
from .findings import Finding
from .material import Material


def audit(material: Material, *, full: bool = False) -> list[Finding]:
    """Look at a sample of every stage's data and batches, or at all of them.

    What is malformed can't become rows: a stage that has some is looked at no further, and without documents there is
    no tokenizer, so no stage has rows.
    """
    found = {stage: audit_texts(material.sources, stage, full=full) for stage in STAGES.values()}
    unread = {stage for stage, findings in found.items() if any(f.kind.startswith("malformed") for f in findings)}
    for stage, findings in found.items():
        if not unread & {stage, STAGES["base"]}:
            findings += audit_rows(material, stage, full=full)
    return [finding for findings in found.values() for finding in findings]


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
