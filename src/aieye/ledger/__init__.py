"""The ledger: one row per client call, its price, and sums that are kept as rows arrive."""
