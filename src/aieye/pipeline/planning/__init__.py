"""From a checked tree to a flat plan. `aieye.pipeline.plan` is what others use."""
