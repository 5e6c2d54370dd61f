"""What is real and what is chance: networks on the same images, and trainings from several seeds."""
