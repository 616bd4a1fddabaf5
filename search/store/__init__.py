"""Where things are kept: the database, the ledger of attempts, and the artifact store."""
