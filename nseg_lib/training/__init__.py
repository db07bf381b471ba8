"""Training: the losses, the paper's networks, the refiner, and the folders of runs."""
