"""The page without Python: static files with the canvas and a network that runs in the browser."""
