"""The reproduction of the paper: makes, checks and shows the tables and figures of a report."""
