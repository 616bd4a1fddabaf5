"""The comparison in optuna-dashboard: one study that shows all of it, and notes on the others."""
