"""The sampler under other people's loaders, trainers and launchers, each run unmodified."""
