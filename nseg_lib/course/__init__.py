"""What the chapters of the course share: figures, probes, checks of exercises, and stand-ins
for data and networks that are not made yet."""
