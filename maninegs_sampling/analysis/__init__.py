"""What a sampler does to a batch, measured without training; suggested settings."""
