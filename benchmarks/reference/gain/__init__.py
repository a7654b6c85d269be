"""Does a batch or a loss help? Paired trainings on real images, and their comparison."""
