"""What people wrote: labels, their classes, decisions between labels, verdicts on alerts, and the audit trail."""
