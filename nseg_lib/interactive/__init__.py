"""A refiner for strokes that people really draw: simulation, network, training, inference."""
