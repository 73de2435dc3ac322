"""Pipelines: a language, plans, and what runs them.

plan = lower(pipeline, analysis, resolve)                   # aieye.pipeline.plan; InvalidPipeline
outcome = await evaluate(plan, arguments, steps, options)   # aieye.pipeline.evaluator; RunFailed
"""
