"""Made-up cohorts whose truth is known, written as a laboratory's data would be."""
