"""What came of a study: records, statistics, the comparison, forecasts and exports."""
