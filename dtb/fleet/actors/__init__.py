"""Ray actors and who drives them: batches, back-pressure, blame, and a ledger that a second call goes on with."""
