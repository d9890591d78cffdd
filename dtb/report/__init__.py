"""The report: a page of a whole run, and one of each person."""
