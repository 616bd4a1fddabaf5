"""Several studies that ask the same question of other data, models or horizons."""
