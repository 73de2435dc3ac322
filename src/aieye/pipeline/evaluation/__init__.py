"""The parts of a run. `aieye.pipeline.evaluator` is what others use."""
