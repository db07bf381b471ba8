"""Strokes drawn by the computer: the paper's recipes, and the simulator of people."""
