"""The cloud side: a Pulumi program, its components and the pure builders they use."""
