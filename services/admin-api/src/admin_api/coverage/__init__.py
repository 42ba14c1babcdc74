"""Reads the ledger: verified spans, open holes, absences, the two numbers of a range, and rejected rows."""
