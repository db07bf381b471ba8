"""What the chapters of the course share: stand-ins, figures, probes and checks of exercises."""
