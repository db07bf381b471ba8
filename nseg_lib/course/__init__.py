"""What the chapters share: figures, probes, exercises, and stand-ins for what is not made yet."""
