"""Judging masks: metrics, baselines, rows of results, summaries and tables."""
